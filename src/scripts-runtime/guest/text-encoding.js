/** `TextEncoder` and `TextDecoder`. The gateway encodes; what is unfinished waits here. */
import { ask, bytesOf, receiveBytes, sendBytes, sendText, toText } from './bytes.js';
import { host, parse } from './host.js';

const Bytes = Uint8Array;

export class TextEncoder {
  get encoding() {
    return 'utf-8';
  }
  encode(text = '') {
    return receiveBytes(host.encode(sendText('TextEncoder', toText(text))));
  }
  encodeInto(source, destination) {
    const text = toText(source);
    const room = destination.length;
    let read = 0;
    let written = 0;
    // A character of UTF-16 takes three bytes at most, so what is cut off here cannot fit.
    const bytes = this.encode(text.slice(0, room));
    while (written < bytes.length) {
      const length = lengthOfSequence(bytes[written]);
      if (written + length > room) break;
      written += length;
      read += length === 4 ? 2 : 1;
    }
    destination.set(bytes.subarray(0, written));
    return { read, written };
  }
}

/** Bytes of a character of UTF-8, by its first byte; 0 where none can begin. */
function lengthOfSequence(first) {
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}

/** Bytes at the end that are the start of a character: https://encoding.spec.whatwg.org/#utf-8-decoder */
function unfinishedUtf8(bytes) {
  const { length } = bytes;
  for (let back = 1; back <= Math.min(3, length); back++) {
    const first = bytes[length - back];
    if ((first & 0xc0) === 0x80) continue;
    if (lengthOfSequence(first) <= back) return 0;
    const second = bytes[length - back + 1];
    if (back === 1 || isSecond(first, second)) return back;
    return 0;
  }
  return 0;
}

/** Some first bytes permit only a part of the second ones, so that no character has two forms. */
function isSecond(first, second) {
  if (first === 0xe0) return second >= 0xa0;
  if (first === 0xed) return second < 0xa0;
  if (first === 0xf0) return second >= 0x90;
  return first !== 0xf4 || second < 0x90;
}

/** Of UTF-16: half of a unit, and the first unit of a pair. */
function unfinishedUtf16(bytes) {
  const odd = bytes.length % 2;
  const high = bytes[bytes.length - odd - 1];
  return high !== undefined && (high & 0xfc) === 0xd8 ? odd + 2 : odd;
}

const UNFINISHED = {
  __proto__: null,
  'utf-8': unfinishedUtf8,
  'utf-16le': unfinishedUtf16,
  'windows-1252': () => 0,
};

export class TextDecoder {
  #encoding;
  #fatal;
  #ignoreBOM;
  /** Of a stream: bytes of the character that goes on in the next call. */
  #kept = new Bytes(0);
  /** The start of the text, where a byte order mark is none of it, was seen. */
  #isBegun = false;
  constructor(label = 'utf-8', options = undefined) {
    const encoding = ask('encoding', sendText('TextDecoder', `${label}`));
    if (encoding === undefined) {
      throw new RangeError(`TextDecoder: "${label}" is none of utf-8, utf-16le, latin1`);
    }
    this.#encoding = encoding;
    this.#fatal = Boolean(options?.fatal);
    this.#ignoreBOM = Boolean(options?.ignoreBOM);
  }
  get encoding() {
    return this.#encoding;
  }
  get fatal() {
    return this.#fatal;
  }
  get ignoreBOM() {
    return this.#ignoreBOM;
  }
  decode(source = new Bytes(0), options = undefined) {
    const isStream = Boolean(options?.stream);
    let bytes = this.#takeKept(bytesOf('TextDecoder', source));
    if (isStream) {
      const end = bytes.length - UNFINISHED[this.#encoding](bytes);
      this.#kept = bytes.slice(end);
      bytes = bytes.subarray(0, end);
    }
    const text = this.#decodeAll(bytes);
    const isStart = !this.#isBegun && text !== '';
    this.#isBegun = isStream && (this.#isBegun || isStart);
    const hasMark = isStart && !this.#ignoreBOM && text[0] === '\ufeff';
    return hasMark && this.#encoding !== 'windows-1252' ? text.slice(1) : text;
  }
  #takeKept(bytes) {
    const kept = this.#kept;
    if (kept.length === 0) return bytes;
    this.#kept = new Bytes(0);
    const both = new Bytes(kept.length + bytes.length);
    both.set(kept);
    both.set(bytes, kept.length);
    return both;
  }
  #decodeAll(bytes) {
    if (bytes.length === 0) return '';
    const isFatal = this.#fatal ? 1 : 0;
    const answer = host.decode(this.#encoding, isFatal, sendBytes('TextDecoder', bytes));
    if (answer !== null) return parse(answer);
    this.#kept = new Bytes(0);
    this.#isBegun = false;
    throw new TypeError(`TextDecoder: the bytes are not ${this.#encoding}`);
  }
}
