/**
 * Frames on the pipes between the supervisor and its children: uint32 length of what follows
 * (little-endian), uint8 kind, body. The supervisor writes to a child's standard input and reads
 * its standard output; standard error stays free for a runtime's own last words.
 */

export const FrameKind = {
  /** UTF-8 JSON of one message of control.ts or script-control.ts. */
  JSON: 0,
  /** Rows of flows that ended, each FLOW_ROW_BYTES long (stack/flow-row.ts). */
  FLOW_ROWS: 1,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export const FRAME_HEADER_BYTES = 5;

/**
 * Longest body, kind included. Senders refuse a longer one, so a reader that sees one knows that
 * the stream is not ours. What can grow is sent in parts (kv-chunks.ts).
 */
export const FRAME_MAX_BYTES = 16 * 1024 * 1024;

/** Bytes of an incomplete frame that a reader keeps memory for; more is returned after it. */
const KEPT_BYTES = 64 * 1024;

const LENGTH_BYTES = 4;

const utf8 = new TextEncoder();

/** The other side would take the frame for a broken stream. */
export class FrameTooLargeError extends Error {
  override readonly name = 'FrameTooLargeError';
  readonly code = 'FRAME_TOO_LARGE';
  /** Of the body. */
  readonly bytes: number;

  constructor(bytes: number) {
    super(`a message of ${bytes} bytes; at most ${FRAME_MAX_BYTES - 1} can be sent`);
    this.bytes = bytes;
  }
}

/** @throws FrameTooLargeError */
export function encodeFrame(kind: FrameKind, body: Uint8Array): Uint8Array<ArrayBuffer> {
  if (body.length >= FRAME_MAX_BYTES) throw new FrameTooLargeError(body.length);
  const frame = new Uint8Array(FRAME_HEADER_BYTES + body.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, body.length + 1, true);
  view.setUint8(LENGTH_BYTES, kind);
  frame.set(body, FRAME_HEADER_BYTES);
  return frame;
}

/** @throws FrameTooLargeError */
export const encodeJsonFrame = (message: unknown): Uint8Array<ArrayBuffer> =>
  encodeFrame(FrameKind.JSON, utf8.encode(JSON.stringify(message)));

/**
 * Cuts a byte stream into frames. Each byte is copied a bounded number of times, however small the
 * pieces are in which a frame comes.
 */
export class FrameReader {
  /** Starts with the incomplete frame; its length is a guess ahead. */
  #kept = new Uint8Array(KEPT_BYTES);
  #keptLength = 0;

  /** A part of a frame has come, and the rest has not. */
  get isInsideFrame(): boolean {
    return this.#keptLength > 0;
  }

  /**
   * Takes bytes and calls `onFrame` for each frame that is complete; `body` is valid only during
   * the call.
   *
   * @throws Error when a length is impossible
   */
  push(bytes: Uint8Array, onFrame: (kind: number, body: Uint8Array) => void): void {
    if (this.#keptLength === 0) {
      this.#keep(bytes.subarray(cutFrames(bytes, onFrame)));
      return;
    }
    this.#keep(bytes);
    const kept = this.#kept.subarray(0, this.#keptLength);
    const end = cutFrames(kept, onFrame);
    if (end === 0) return;
    // The frame before was incomplete without `bytes`, so what is left is of them, and is copied
    // this once.
    const rest = kept.subarray(end);
    if (this.#kept.length > KEPT_BYTES) this.#kept = new Uint8Array(KEPT_BYTES);
    this.#keptLength = 0;
    this.#keep(rest);
  }

  #keep(bytes: Uint8Array): void {
    const length = this.#keptLength + bytes.length;
    if (length > this.#kept.length) {
      const larger = new Uint8Array(Math.max(length, this.#kept.length * 2));
      larger.set(this.#kept.subarray(0, this.#keptLength));
      this.#kept = larger;
    }
    this.#kept.set(bytes, this.#keptLength);
    this.#keptLength = length;
  }
}

/** Passes on the frames that `data` starts with. Returns how many bytes they are. */
function cutFrames(data: Uint8Array, onFrame: (kind: number, body: Uint8Array) => void): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  while (data.length - at >= FRAME_HEADER_BYTES) {
    const length = view.getUint32(at, true);
    if (length < 1 || length > FRAME_MAX_BYTES) {
      throw new Error(`impossible frame of ${length} bytes`);
    }
    const end = at + LENGTH_BYTES + length;
    if (end > data.length) break;
    onFrame(view.getUint8(at + LENGTH_BYTES), data.subarray(at + FRAME_HEADER_BYTES, end));
    at = end;
  }
  return at;
}
