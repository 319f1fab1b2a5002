/**
 * The payload of traces: what a byte must be follows from its position in the stream, so that each
 * segment can be made, and checked, on its own. The two directions differ.
 */

/** Which of the two streams of a connection. */
export const Stream = { CLIENT: 0x1f3a_77c1, SERVER: 0x6c8e_9cf5 } as const;
export type Stream = (typeof Stream)[keyof typeof Stream];

/** Byte number `offset` of a stream, counted from 0. */
function streamByte(stream: Stream, offset: number): number {
  const mixed = Math.imul((offset ^ stream) | 0, 0x9e37_79b1);
  return Math.imul(mixed ^ (mixed >>> 15), 0x85eb_ca77) >>> 24;
}

export function fillStream(
  stream: Stream,
  offset: number,
  bytes: Uint8Array,
  at = 0,
  length = bytes.length,
): void {
  for (let i = 0; i < length; i++) bytes[at + i] = streamByte(stream, offset + i);
}

export function streamBytes(
  stream: Stream,
  offset: number,
  length: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  fillStream(stream, offset, bytes);
  return bytes;
}

/** @throws Error at the first byte that is not that of the stream */
export function checkStream(
  stream: Stream,
  offset: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) {
    if (bytes[at + i] !== streamByte(stream, offset + i)) {
      const name = stream === Stream.CLIENT ? 'client' : 'server';
      throw new Error(`byte ${offset + i} of the ${name}'s stream is wrong`);
    }
  }
}
