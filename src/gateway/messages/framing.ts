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

/** Larger than any bundle; a longer frame means that the stream is not ours. */
const FRAME_MAX_BYTES = 16 * 1024 * 1024;

const utf8 = new TextEncoder();

export function encodeFrame(kind: FrameKind, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + body.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, body.length + 1, true);
  view.setUint8(4, kind);
  frame.set(body, FRAME_HEADER_BYTES);
  return frame;
}

export const encodeJsonFrame = (message: unknown): Uint8Array<ArrayBuffer> =>
  encodeFrame(FrameKind.JSON, utf8.encode(JSON.stringify(message)));

/** Cuts a byte stream into frames. */
export class FrameReader {
  #pending = new Uint8Array(0);

  /**
   * Takes bytes and calls `onFrame` for each frame that is complete; `body` is valid only during
   * the call.
   *
   * @throws Error when a length is impossible
   */
  push(bytes: Uint8Array, onFrame: (kind: number, body: Uint8Array) => void): void {
    let data = bytes;
    if (this.#pending.length > 0) {
      data = new Uint8Array(this.#pending.length + bytes.length);
      data.set(this.#pending);
      data.set(bytes, this.#pending.length);
    }
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    let at = 0;
    while (data.length - at >= FRAME_HEADER_BYTES) {
      const length = view.getUint32(at, true);
      if (length < 1 || length > FRAME_MAX_BYTES)
        throw new Error(`impossible frame of ${length} bytes`);
      if (data.length - at < 4 + length) break;
      onFrame(view.getUint8(at + 4), data.subarray(at + FRAME_HEADER_BYTES, at + 4 + length));
      at += 4 + length;
    }
    this.#pending = data.slice(at);
  }
}
