import { CHUNK_BYTES, CHUNK_UNITS, type Chunks, NO_CHUNK } from './chunks.ts';
import { FRAGMENT_UNIT, type Fragment } from './fragment.ts';

const CHUNK_SLOTS = 65_536 / CHUNK_BYTES;

/** A packet that is not whole yet. As many as the limit allows are made at the start. */
export class PartialPacket {
  /** When its first fragment came. */
  startedAt = 0;
  family: 4 | 6 = 4;
  identification = 0;
  protocol = 0;
  /** Keyed hash of what counts as its source. */
  sourceHash = 0;
  /** Where its header lies: that of the first fragment; before it came, of any. */
  readonly headerAt: number;
  /** Payload bytes of the whole; -1 until the last fragment came. */
  total = -1;
  /** Payload bytes that arrived, and the end of the farthest. */
  received = 0;
  farthest = 0;
  /** Fragments that were kept before the one in hand. */
  fragments = 0;
  chunksHeld = 0;
  /** One bit per ECN codepoint that a fragment had. */
  ecnSeen = 0;
  /** Number of the chunk that holds each part of the payload. */
  readonly #slots = new Uint16Array(CHUNK_SLOTS).fill(NO_CHUNK);
  readonly #chunks: Chunks;

  constructor(headerAt: number, chunks: Chunks) {
    this.headerAt = headerAt;
    this.#chunks = chunks;
  }

  /** Forgets everything, and gives its chunks back. */
  clear(): void {
    this.total = -1;
    this.received = this.farthest = this.fragments = this.chunksHeld = this.ecnSeen = 0;
    for (let slot = 0; slot < CHUNK_SLOTS; slot++) {
      const chunk = this.#slots[slot]!;
      if (chunk === NO_CHUNK) continue;
      this.#chunks.release(chunk);
      this.#slots[slot] = NO_CHUNK;
    }
  }

  /** Whether the fragment lies behind the end of the packet, or names another end. */
  contradicts({ offset, payloadLength, hasMore }: Fragment): boolean {
    const end = offset + payloadLength;
    if (hasMore) return this.total >= 0 && end > this.total;
    return end < this.farthest || (this.total >= 0 && end !== this.total);
  }

  /** How many units of the fragment have arrived before. */
  countKnown({ offset, payloadLength }: Fragment): number {
    const first = offset / FRAGMENT_UNIT;
    const end = first + unitsOf(payloadLength);
    let known = 0;
    for (let unit = first; unit < end; unit++) {
      const chunk = this.#slots[Math.floor(unit / CHUNK_UNITS)]!;
      if (chunk !== NO_CHUNK && this.#chunks.has(chunk, unit % CHUNK_UNITS)) known += 1;
    }
    return known;
  }

  /** Chunks that the fragment needs and the packet has not. */
  chunksMissing({ offset, payloadLength }: Fragment): number {
    let missing = 0;
    for (let slot = slotOf(offset); slot <= slotOf(offset + payloadLength - 1); slot++) {
      if (this.#slots[slot] === NO_CHUNK) missing += 1;
    }
    return missing;
  }

  /** Copies a fragment to its place; the pool has the chunks that are missing. */
  keep(bytes: Uint8Array, { offset, payloadAt, payloadLength }: Fragment): void {
    for (let done = 0; done < payloadLength; ) {
      const at = offset + done;
      const part = Math.min(payloadLength - done, CHUNK_BYTES - (at % CHUNK_BYTES));
      let chunk = this.#slots[slotOf(at)]!;
      if (chunk === NO_CHUNK) {
        chunk = this.#slots[slotOf(at)] = this.#chunks.take();
        this.chunksHeld += 1;
      }
      const toAt = this.#chunks.bytesAt(chunk) + (at % CHUNK_BYTES);
      bytes.copyWithin(toAt, payloadAt + done, payloadAt + done + part);
      const first = (at % CHUNK_BYTES) / FRAGMENT_UNIT;
      for (let i = 0; i < unitsOf(part); i++) this.#chunks.mark(chunk, first + i);
      done += part;
    }
    this.received += payloadLength;
    this.farthest = Math.max(this.farthest, offset + payloadLength);
  }

  /** Copies the whole payload to `toAt`. */
  copyTo(bytes: Uint8Array, toAt: number): void {
    for (let done = 0; done < this.total; done += CHUNK_BYTES) {
      const fromAt = this.#chunks.bytesAt(this.#slots[slotOf(done)]!);
      const part = Math.min(CHUNK_BYTES, this.total - done);
      bytes.copyWithin(toAt + done, fromAt, fromAt + part);
    }
  }
}

const slotOf = (payloadByte: number): number => Math.floor(payloadByte / CHUNK_BYTES);
const unitsOf = (length: number): number => Math.ceil(length / FRAGMENT_UNIT);
