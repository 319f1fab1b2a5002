/**
 * Bytes that cross. They lie in the page for the length of one call, and are copied from and to
 * it: a script never has the page's buffer in hand. So nothing here may use what a script could
 * have replaced, nor `subarray` and `slice`, which ask the constructor of an array for another.
 */
import { host, slice, stringify, uncurry } from './host.js';
import { CHUNK_AT, CHUNK_BYTES, LENGTH, words } from './page.js';

const Bytes = Uint8Array;
const typed = Object.getPrototypeOf(Bytes.prototype);
const getterOf = (name) => uncurry(Object.getOwnPropertyDescriptor(typed, name).get);
const kindOf = getterOf(Symbol.toStringTag);
const bufferOf = getterOf('buffer');
const offsetOf = getterOf('byteOffset');
const put = uncurry(typed.set);

/** Of an array that `isBytes`; 0 once its buffer is gone. */
export const lengthOf = getterOf('byteLength');
export const isBytes = (value) => kindOf(value) === 'Uint8Array';

const chunk = new Bytes(host.page, CHUNK_AT, CHUNK_BYTES);

/** The bytes that came with the call into the guest that is running. */
export function takeChunk() {
  const length = words[LENGTH];
  const taken = new Bytes(length);
  put(taken, new Bytes(host.page, CHUNK_AT, length));
  return taken;
}

/** Puts `length` bytes, CHUNK_BYTES at most, where the next call out of the guest takes them. */
export function putChunk(bytes, at, length) {
  put(chunk, new Bytes(bufferOf(bytes), offsetOf(bytes) + at, length));
  words[LENGTH] = length;
}

export function copyOf(bytes, from, to) {
  const copied = new Bytes(to - from);
  put(copied, new Bytes(bufferOf(bytes), offsetOf(bytes) + from, to - from));
  return copied;
}

/** The rest of it, in the same memory. */
export const restOf = (bytes, from) =>
  new Bytes(bufferOf(bytes), offsetOf(bytes) + from, lengthOf(bytes) - from);

/** One array of all of them; of one, that one. */
export function joined(arrays) {
  if (arrays.length === 1) return arrays[0];
  let length = 0;
  for (const array of arrays) length += lengthOf(array);
  const all = new Bytes(length);
  let at = 0;
  for (const array of arrays) {
    put(all, array, at);
    at += lengthOf(array);
  }
  return all;
}

/** A UTF-16 unit becomes three bytes of UTF-8 at most. */
const PIECE_UNITS = Math.floor(CHUNK_BYTES / 3);
const isHighSurrogate = (unit) => unit >= 0xd800 && unit < 0xdc00;
const unitAt = uncurry(String.prototype.charCodeAt);

/** Text as UTF-8. */
export function encode(text) {
  const pieces = [];
  for (let at = 0; at < text.length; ) {
    let end = Math.min(at + PIECE_UNITS, text.length);
    if (end < text.length && isHighSurrogate(unitAt(text, end - 1))) end--;
    // As JSON: the border ends a text at its first NUL.
    host.connEncode(stringify(slice(text, at, end)));
    pieces.push(takeChunk());
    at = end;
  }
  return joined(pieces);
}
