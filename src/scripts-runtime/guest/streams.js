/** Streams over something of the gateway's, and the streams that change between text and bytes. */
import { bytesOf } from './bytes.js';
import { TextDecoder, TextEncoder } from './text-encoding.js';
import { ReadableStream, TransformStream, WritableStream } from './web-streams.js';

/**
 * A stream of bytes.
 *
 * @param pull    gives a promise of the next bytes (`Uint8Array`), or of null where they end; it is
 *                not called again before that has settled, and only when somebody reads
 * @param cancel  is given the reason when nobody will read any more
 */
export function readableOf(pull, cancel) {
  return new ReadableStream({
    type: 'bytes',
    async pull(controller) {
      let bytes = await pull();
      // A chunk of nothing cannot be given, and without one this is not called again.
      while (bytes !== null && bytes.byteLength === 0) bytes = await pull();
      if (bytes !== null) {
        controller.enqueue(bytes);
        return;
      }
      controller.close();
      // A reader that brought a buffer of its own gets it back.
      controller.byobRequest?.respond(0);
    },
    cancel,
  });
}

/**
 * A stream that takes bytes.
 *
 * @param write  is given a `Uint8Array`; the next one waits for the promise that it returns
 * @param close  is called once all was written
 * @param abort  is given the reason when what is written is to be forgotten
 */
export function writableOf(write, close, abort) {
  return new WritableStream({
    write: (chunk) => write(bytesOf('write', chunk)),
    close,
    abort,
  });
}

class TransformPair {
  #transform;
  constructor(transformer) {
    this.#transform = new TransformStream(transformer);
  }
  get readable() {
    return this.#transform.readable;
  }
  get writable() {
    return this.#transform.writable;
  }
}

export class TextEncoderStream extends TransformPair {
  #encoder;
  constructor() {
    const encoder = new TextEncoder();
    // The first half of a pair can be the end of one chunk, and the second the start of the next.
    let half = '';
    super({
      transform(chunk, controller) {
        const text = half + chunk;
        const isCut = text !== '' && !text.slice(-1).isWellFormed() && text.slice(-1) < '\udc00';
        half = isCut ? text.slice(-1) : '';
        const bytes = encoder.encode(isCut ? text.slice(0, -1) : text);
        if (bytes.length > 0) controller.enqueue(bytes);
      },
      flush(controller) {
        if (half !== '') controller.enqueue(encoder.encode(half));
      },
    });
    this.#encoder = encoder;
  }
  get encoding() {
    return this.#encoder.encoding;
  }
}

export class TextDecoderStream extends TransformPair {
  #decoder;
  constructor(label, options) {
    const decoder = new TextDecoder(label, options);
    super({
      transform(chunk, controller) {
        const text = decoder.decode(chunk, { stream: true });
        if (text !== '') controller.enqueue(text);
      },
      flush(controller) {
        const text = decoder.decode();
        if (text !== '') controller.enqueue(text);
      },
    });
    this.#decoder = decoder;
  }
  get encoding() {
    return this.#decoder.encoding;
  }
  get fatal() {
    return this.#decoder.fatal;
  }
  get ignoreBOM() {
    return this.#decoder.ignoreBOM;
  }
}

export {
  ByteLengthQueuingStrategy,
  CountQueuingStrategy,
  ReadableByteStreamController,
  ReadableStream,
  ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest,
  ReadableStreamDefaultController,
  ReadableStreamDefaultReader,
  TransformStream,
  TransformStreamDefaultController,
  WritableStream,
  WritableStreamDefaultController,
  WritableStreamDefaultWriter,
} from './web-streams.js';
