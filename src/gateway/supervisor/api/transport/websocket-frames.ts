/** Frames of WebSocket, RFC 6455 §5: what a server that only tells needs of them. */
import { createHash } from 'node:crypto';

/** RFC 6455 §1.3. */
const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const FINAL = 0x80;
const MASKED = 0x80;
const LENGTH_BITS = 0x7f;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const MASK_BYTES = 4;
/** RFC 6455 §5.5. */
const CONTROL_BYTES_MAX = 125;
/** Clients have nothing to say here; what they say is skipped, as long as it is short. */
const SAID_BYTES_MAX = 64 * 1024;

export const Opcode = { TEXT: 1, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** `Sec-WebSocket-Accept` for the key of a client. */
export const acceptOf = (key: string): string =>
  createHash('sha1').update(`${key}${ACCEPT_SUFFIX}`).digest('base64');

/** One whole frame, as servers send them: without a mask. */
export function encodeFrame(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const extra = length < LENGTH_16 ? 0 : length <= 0xffff ? 2 : 8;
  const frame = new Uint8Array(2 + extra + length);
  const view = new DataView(frame.buffer);
  view.setUint8(0, FINAL | opcode);
  view.setUint8(1, extra === 0 ? length : extra === 2 ? LENGTH_16 : LENGTH_64);
  if (extra === 2) view.setUint16(2, length);
  if (extra === 8) view.setBigUint64(2, BigInt(length));
  frame.set(payload, 2 + extra);
  return frame;
}

export interface Frame {
  readonly opcode: number;
  readonly payload: Uint8Array;
}

/** Cuts what a client sends into frames. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);

  /**
   * Frames that are whole now.
   *
   * @returns undefined for what no client may send: unmasked, or too long
   */
  read(bytes: Uint8Array): Frame[] | undefined {
    this.#pending = Buffer.concat([this.#pending, bytes]);
    const frames: Frame[] = [];
    for (;;) {
      const head = this.#head();
      if (head === undefined) return frames;
      if (head.isFault) return undefined;
      const { opcode, maskAt, length } = head;
      const from = maskAt + MASK_BYTES;
      if (this.#pending.length < from + length) return frames;
      const payload = Uint8Array.from(
        this.#pending.subarray(from, from + length),
        (byte, i) => byte ^ (this.#pending[maskAt + (i % MASK_BYTES)] ?? 0),
      );
      frames.push({ opcode, payload });
      this.#pending = this.#pending.subarray(from + length);
    }
  }

  /** Undefined while it is not whole. */
  #head() {
    const bytes = this.#pending;
    if (bytes.length < 2) return undefined;
    const opcode = bytes.readUInt8(0) & 0x0f;
    const second = bytes.readUInt8(1);
    const short = second & LENGTH_BITS;
    const extra = short < LENGTH_16 ? 0 : short === LENGTH_16 ? 2 : 8;
    if (bytes.length < 2 + extra) return undefined;
    const length =
      extra === 0 ? short : extra === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    const most = opcode >= Opcode.CLOSE ? CONTROL_BYTES_MAX : SAID_BYTES_MAX;
    const isFault = (second & MASKED) === 0 || length > most;
    return { opcode, length, maskAt: 2 + extra, isFault };
  }
}
