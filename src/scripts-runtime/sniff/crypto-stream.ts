/** The TLS messages of Initial packets, out of CRYPTO frames in any order: RFC 9000 §7.5. */
import { ByteReader } from './byte-reader.ts';
import { SNIFF_BYTES_MAX } from './sniffed.ts';

const FrameType = {
  PADDING: 0x00,
  PING: 0x01,
  ACK: 0x02,
  ACK_WITH_ECN: 0x03,
  CRYPTO: 0x06,
} as const;
const ECN_COUNTS = 3;
/** Grows from here by doubling; an ordinary hello fits, and a post-quantum one does not. */
const BYTES_AT_FIRST = 1024;

export class CryptoStream {
  /** Of it `length` bytes are there without a gap. */
  bytes = new Uint8Array(BYTES_AT_FIRST);
  length = 0;
  /** 1 where a byte has arrived. */
  #arrived = new Uint8Array(BYTES_AT_FIRST);

  /**
   * Takes the frames of one packet.
   *
   * @returns false when they are malformed, contradict what came before, or lead too far
   */
  take(frames: Uint8Array): boolean {
    const reader = new ByteReader(frames, 0, frames.length);
    while (reader.left > 0) {
      switch (reader.varint()) {
        case FrameType.PADDING:
        case FrameType.PING:
          break;
        case FrameType.ACK:
          skipAck(reader, 0);
          break;
        case FrameType.ACK_WITH_ECN:
          skipAck(reader, ECN_COUNTS);
          break;
        case FrameType.CRYPTO:
          if (!this.#takeCrypto(reader, frames)) return false;
          break;
        default:
          // RFC 9000 §12.5: a close is allowed too, and nothing comes after it.
          return false;
      }
    }
    while (this.#arrived[this.length] === 1) this.length++;
    return !reader.isShort;
  }

  #takeCrypto(reader: ByteReader, frames: Uint8Array): boolean {
    const offset = reader.varint();
    const length = reader.varint();
    const at = reader.skip(length);
    if (reader.isShort || offset + length > SNIFF_BYTES_MAX) return false;
    this.#reserve(offset + length);
    for (let i = 0; i < length; i++) {
      const byte = frames[at + i]!;
      // The same once more is a retransmission; something else would show us another name than it.
      if (this.#arrived[offset + i] === 1 && this.bytes[offset + i] !== byte) return false;
      this.bytes[offset + i] = byte;
      this.#arrived[offset + i] = 1;
    }
    return true;
  }

  #reserve(size: number): void {
    if (size <= this.bytes.length) return;
    const wanted = Math.max(size, this.bytes.length * 2);
    const [bytes, arrived] = [new Uint8Array(wanted), new Uint8Array(wanted)];
    bytes.set(this.bytes);
    arrived.set(this.#arrived);
    this.bytes = bytes;
    this.#arrived = arrived;
  }
}

/** RFC 9000 §19.3. */
function skipAck(reader: ByteReader, ecnCounts: number): void {
  reader.varint();
  reader.varint();
  const ranges = reader.varint();
  reader.varint();
  for (let i = 0; i < ranges * 2 + ecnCounts && !reader.isShort; i++) reader.varint();
}
