/**
 * Slabs: the memory of payload bytes that wait, for an acknowledgement or for a slow upstream.
 *
 * The pool is cut into chunks. A chunk serves one size class at a time: one large slab, four medium
 * or thirty-two small ones; a 32-bit mask tells which are free, and a chunk whose slabs are all
 * free again may change its class. A slab is known by its position in the arena:
 *
 *   +--------+-----------------------+----------------------------------+
 *   | meta   | headroom              | payload                          |
 *   +--------+-----------------------+----------------------------------+
 *   at       +SLAB_META_BYTES        +SLAB_PAYLOAD_AT
 *
 * Headers are written into the headroom, right in front of the payload, so that a segment leaves
 * with one write. The meta words link slabs into the queues of a flow.
 */
import type { Arena } from './arena.ts';

/** Meta words, at the start of a slab. */
export const SlabField = {
  /** int32: next slab of the queue, NO_SLAB at the end. */
  NEXT: 0,
  /** uint32: sequence number of the first payload byte. */
  SEQ: 4,
  /** uint32: payload bytes. */
  LENGTH: 8,
  /** uint32, of received bytes: payload bytes at the front that are done with. */
  TAKEN: 12,
  /** uint32, of a parked packet: bytes before its IP header. */
  HEADER_BYTES: 12,
  /** uint32, of a parked packet: bytes before its transport header; `Packet.gsoSize`. */
  TRANSPORT_BYTES: 16,
  GSO_SIZE: 20,
  /** uint32, of sent bytes: bytes that one mark stands for; marks are in tcp/scoreboard.ts. */
  UNIT: 12,
  /** Two words of marks each. */
  SACKED: 16,
  LOST: 24,
  RESENT: 32,
  /** float64: when the bytes were sent first. */
  SENT_AT: 40,
  /** float64: the first and the last time that units marked RESENT were sent. */
  RESENT_FROM: 48,
  RESENT_AT: 56,
  /** What was known of the flow when the bytes were sent first; see tcp/delivery-rate.ts. */
  DELIVERED: 64,
  TX_IN_FLIGHT: 68,
  DELIVERED_AT: 72,
  FIRST_SENT_AT: 80,
  IS_APP_LIMITED: 88,
} as const;

const SLAB_META_BYTES = 96;
/** Room for virtio-net, IPv6 and TCP headers with full options: 10 + 40 + 60 bytes. */
export const SLAB_HEADROOM_BYTES = 128;
export const SLAB_PAYLOAD_AT = SLAB_META_BYTES + SLAB_HEADROOM_BYTES;

/** Not a slab. */
export const NO_SLAB = -1;

/** Seventeen pages: a slab of the large class holds more than an IP packet can. */
const CHUNK_BYTES = 69_632;
const CLASS_SLABS = [32, 4, 1] as const;
const CLASS_BYTES = CLASS_SLABS.map((count) => CHUNK_BYTES / count);
const CLASS_ALL_FREE = [-1, 0b1111, 0b1] as const;
const CLASS_COUNT = CLASS_SLABS.length;
const NO_CHUNK = -1;

/** Payload bytes of the classes: 1,952, 17,184 and 69,408. */
export const SLAB_PAYLOAD_BYTES: readonly number[] = CLASS_BYTES.map((b) => b - SLAB_PAYLOAD_AT);
export const MEDIUM_SLAB_PAYLOAD_BYTES = SLAB_PAYLOAD_BYTES[1]!;
export const LARGE_SLAB_PAYLOAD_BYTES = SLAB_PAYLOAD_BYTES[CLASS_COUNT - 1]!;

const chunkCount = (budget: number): number => Math.max(2, Math.floor(budget / CHUNK_BYTES));

export class SlabPool {
  readonly #at: number;
  readonly #chunks: number;
  readonly #class: Uint8Array;
  readonly #freeMask: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Per class: first chunk with a free slab. */
  readonly #partial: Int32Array;
  /** Chunks that may be in use. */
  #limit: number;
  #freeChunk = NO_CHUNK;
  #fresh = 0;
  #bytesUsed = 0;
  /** Chunks that hold a slab: one small slab keeps a whole one. */
  #chunksUsed = 0;

  static bytes(budget: number): number {
    const chunks = chunkCount(budget);
    return chunks * (CHUNK_BYTES + 1 + 12) + CHUNK_BYTES + 6 * 64;
  }

  /** @param budget  bytes; rounded down to whole chunks, at least 2 */
  constructor(arena: Arena, budget: number) {
    this.#chunks = chunkCount(budget);
    this.#limit = this.#chunks;
    const words = (count: number) => new Int32Array(arena.buffer, arena.take(count * 4), count);
    this.#class = new Uint8Array(arena.buffer, arena.take(this.#chunks), this.#chunks);
    this.#freeMask = words(this.#chunks);
    this.#next = words(this.#chunks);
    this.#previous = words(this.#chunks);
    this.#partial = words(CLASS_COUNT).fill(NO_CHUNK);
    this.#at = arena.take(this.#chunks * CHUNK_BYTES, 4096);
  }

  /** As many bytes at the most, and no more than there are; what is in use beyond it stays so. */
  setLimit(budget: number): void {
    this.#limit = Math.min(chunkCount(budget), this.#chunks);
  }

  /** Bytes of the slabs in use. */
  get bytesUsed(): number {
    return this.#bytesUsed;
  }

  /** Less than a quarter of the chunks is free: what can wait should. */
  get isLean(): boolean {
    return this.#chunksUsed * 4 > this.#limit * 3;
  }

  get bytesLimit(): number {
    return this.#limit * CHUNK_BYTES;
  }

  /**
   * The smallest slab that holds `payloadLength` bytes (at most LARGE_SLAB_PAYLOAD_BYTES).
   *
   * @returns its position, or NO_SLAB when the budget is used up
   */
  take(payloadLength: number): number {
    let slabClass = 0;
    while (payloadLength > SLAB_PAYLOAD_BYTES[slabClass]!) slabClass += 1;
    let chunk = this.#partial[slabClass]!;
    if (chunk === NO_CHUNK) {
      chunk = this.#takeChunk();
      if (chunk === NO_CHUNK) return NO_SLAB;
      this.#chunksUsed += 1;
      this.#class[chunk] = slabClass;
      this.#freeMask[chunk] = CLASS_ALL_FREE[slabClass]!;
      this.#link(slabClass, chunk);
    }
    const mask = this.#freeMask[chunk]!;
    const slot = 31 - Math.clz32(mask & -mask);
    const left = mask & ~(1 << slot);
    this.#freeMask[chunk] = left;
    if (left === 0) this.#unlink(slabClass, chunk);
    this.#bytesUsed += CLASS_BYTES[slabClass]!;
    return this.#at + chunk * CHUNK_BYTES + slot * CLASS_BYTES[slabClass]!;
  }

  release(slabAt: number): void {
    const offset = slabAt - this.#at;
    const chunk = Math.floor(offset / CHUNK_BYTES);
    const slabClass = this.#class[chunk]!;
    const size = CLASS_BYTES[slabClass]!;
    const mask = this.#freeMask[chunk]! | (1 << ((offset - chunk * CHUNK_BYTES) / size));
    if (this.#freeMask[chunk] === 0) this.#link(slabClass, chunk);
    this.#freeMask[chunk] = mask;
    this.#bytesUsed -= size;
    if (mask === CLASS_ALL_FREE[slabClass]) {
      this.#unlink(slabClass, chunk);
      this.#next[chunk] = this.#freeChunk;
      this.#freeChunk = chunk;
      this.#chunksUsed -= 1;
    }
  }

  /** Bytes that a slab takes from the budget. */
  sizeOf(slabAt: number): number {
    return CLASS_BYTES[this.#class[Math.floor((slabAt - this.#at) / CHUNK_BYTES)]!]!;
  }

  /** Payload bytes that a slab can hold. */
  payloadOf(slabAt: number): number {
    return this.sizeOf(slabAt) - SLAB_PAYLOAD_AT;
  }

  #takeChunk(): number {
    if (this.#chunksUsed >= this.#limit) return NO_CHUNK;
    const chunk = this.#freeChunk;
    if (chunk !== NO_CHUNK) {
      this.#freeChunk = this.#next[chunk]!;
      return chunk;
    }
    return this.#fresh < this.#chunks ? this.#fresh++ : NO_CHUNK;
  }

  #link(slabClass: number, chunk: number): void {
    const head = this.#partial[slabClass]!;
    this.#next[chunk] = head;
    this.#previous[chunk] = NO_CHUNK;
    if (head !== NO_CHUNK) this.#previous[head] = chunk;
    this.#partial[slabClass] = chunk;
  }

  #unlink(slabClass: number, chunk: number): void {
    const next = this.#next[chunk]!;
    const previous = this.#previous[chunk]!;
    if (next !== NO_CHUNK) this.#previous[next] = previous;
    if (previous !== NO_CHUNK) this.#next[previous] = next;
    else this.#partial[slabClass] = next;
  }
}
