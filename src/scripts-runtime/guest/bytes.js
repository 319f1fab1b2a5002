/**
 * Bytes and text on their way to the gateway and back.
 *
 * Text crosses as JSON, because the border ends a string at its first NUL. Bytes that come back lie
 * outside of the memory that the engine counts, so they are copied at once, and no code of a
 * script may see them before that.
 */
import { host, lengths, parse, stringify } from './host.js';

const { apply, getOwnPropertyDescriptor, getPrototypeOf } = Reflect;
const Bytes = Uint8Array;
const Buffer = ArrayBuffer;
const { isView } = ArrayBuffer;
const typedArray = getPrototypeOf(Bytes.prototype);
const { set } = typedArray;
const getterOf = (prototype, name) => getOwnPropertyDescriptor(prototype, name).get;
const viewBuffer = getterOf(typedArray, 'buffer');
const viewAt = getterOf(typedArray, 'byteOffset');
const viewLength = getterOf(typedArray, 'byteLength');
const dataBuffer = getterOf(DataView.prototype, 'buffer');
const dataAt = getterOf(DataView.prototype, 'byteOffset');
const dataLength = getterOf(DataView.prototype, 'byteLength');
const bufferLength = getterOf(ArrayBuffer.prototype, 'byteLength');
const typeTag = getterOf(typedArray, Symbol.toStringTag);
const { toWellFormed } = String.prototype;
const { isWellFormed } = String.prototype;

const tooLong = (name, most) =>
  new RangeError(`${name}: more than ${most} bytes or characters at once`);

/** Name of the kind of a typed array, such as `Uint8Array`; undefined of all else. */
export const kindOfArray = (value) => apply(typeTag, value, []);

/** As the standards' USVString. */
export function toText(value) {
  const text = `${value}`;
  return apply(isWellFormed, text, []) ? text : apply(toWellFormed, text, []);
}

/** Text for `host`: JSON, which is shorter than it may be. */
export function sendText(name, text, most = lengths.transfer) {
  if (text.length > most) throw tooLong(name, most);
  return stringify(text);
}

/** `host.web`, whose answer is JSON. */
export const ask = (operation, ...texts) => {
  const answer = host.web(operation, ...texts);
  return answer === null ? undefined : parse(answer);
};

/** The bytes that a buffer or a view on one stands for; not copied. */
export function bytesOf(name, source) {
  if (isView(source)) {
    const isData = kindOfArray(source) === undefined;
    const buffer = apply(isData ? dataBuffer : viewBuffer, source, []);
    const at = apply(isData ? dataAt : viewAt, source, []);
    return new Bytes(buffer, at, apply(isData ? dataLength : viewLength, source, []));
  }
  try {
    apply(bufferLength, source, []);
  } catch {
    throw new TypeError(`${name}: no ArrayBuffer, and no view on one`);
  }
  return new Bytes(source);
}

/** A buffer with a copy of bytes, for `host`: it reads whole buffers only. */
export function sendBytes(name, source) {
  const bytes = bytesOf(name, source);
  const length = apply(viewLength, bytes, []);
  if (length > lengths.transfer) throw tooLong(name, lengths.transfer);
  const buffer = new Buffer(length);
  apply(set, new Bytes(buffer), [bytes]);
  return buffer;
}

/** Bytes of our own, from a buffer that `host` made. */
export function receiveBytes(buffer) {
  const bytes = new Bytes(apply(bufferLength, buffer, []));
  apply(set, bytes, [new Bytes(buffer)]);
  return bytes;
}
