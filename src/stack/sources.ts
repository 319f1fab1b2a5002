import type { Arena } from './arena.ts';
import type { HalfSipHash } from './sip-hash.ts';

const NONE = -1;

/** Offsets in int32 words of the row of a source. */
const Word = { KEY: 0, KEY_LOW: 1, KIND: 2, FLOWS: 3, CLIENT_FLOWS: 4, NEXT: 5 } as const;
const ROW_WORDS = 6;

/**
 * Counts what each source has of something, so that one cannot take all of it: flows, or ports of
 * the pool, of each protocol by itself. Knows too which sources are clients of the gateway: those
 * behind an address of the pool. A source is an IPv4 address or an IPv6 /64.
 */
export class Sources {
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #buckets: Int32Array;
  readonly #hash: HalfSipHash;
  #free = NONE;
  #fresh = 0;
  /** The key under the reader's eye. */
  #key = 0;
  #keyLow = 0;
  /** Family and protocol. */
  #kind = 4;

  static bytes(capacity: number): number {
    return capacity * ROW_WORDS * 4 + bucketCount(capacity) * 4 + 2 * 64;
  }

  /** @param capacity  one for each flow */
  constructor(arena: Arena, capacity: number, hash: HalfSipHash) {
    this.#view = arena.view;
    const words = capacity * ROW_WORDS;
    this.#words = new Int32Array(arena.buffer, arena.take(words * 4), words);
    const buckets = bucketCount(capacity);
    this.#buckets = new Int32Array(arena.buffer, arena.take(buckets * 4), buckets).fill(NONE);
    this.#hash = hash;
  }

  /** What the source has. @param protocol  IANA number, where each counts by itself */
  count(at: number, length: number, protocol = 0): number {
    const row = this.#find(at, length, protocol);
    return row === NONE ? 0 : this.#words[row + Word.FLOWS]!;
  }

  /** Whether the source has flows that leave with an address of the pool. */
  isClient(at: number, length: number): boolean {
    const row = this.#find(at, length, 0);
    return row !== NONE && this.#words[row + Word.CLIENT_FLOWS]! > 0;
  }

  /** Counts one more; there is room, for there are as many rows as flows. */
  take(at: number, length: number, isClient: boolean, protocol = 0): void {
    let row = this.#find(at, length, protocol);
    if (row === NONE) row = this.#insert();
    this.#words[row + Word.FLOWS]! += 1;
    if (isClient) this.#words[row + Word.CLIENT_FLOWS]! += 1;
  }

  /** Counts one less, which was taken in the same way. */
  release(at: number, length: number, isClient: boolean, protocol = 0): void {
    const row = this.#find(at, length, protocol);
    if (row === NONE) return;
    const words = this.#words;
    if (isClient) words[row + Word.CLIENT_FLOWS]! -= 1;
    words[row + Word.FLOWS]! -= 1;
    if (words[row + Word.FLOWS] === 0) this.#remove(row);
  }

  #find(at: number, length: number, protocol: number): number {
    this.#key = this.#view.getInt32(at);
    this.#keyLow = length === 4 ? 0 : this.#view.getInt32(at + 4);
    this.#kind = (protocol << 8) | (length === 4 ? 4 : 6);
    const words = this.#words;
    let row = this.#buckets[this.#bucket()]!;
    while (row !== NONE) {
      if (
        words[row + Word.KEY] === this.#key &&
        words[row + Word.KEY_LOW] === this.#keyLow &&
        words[row + Word.KIND] === this.#kind
      ) {
        return row;
      }
      row = words[row + Word.NEXT]!;
    }
    return NONE;
  }

  #bucket(): number {
    const hash = this.#hash;
    hash.start();
    hash.word(this.#key);
    hash.word(this.#keyLow);
    hash.word(this.#kind);
    return hash.finish() % this.#buckets.length;
  }

  #insert(): number {
    const words = this.#words;
    let row = this.#free;
    if (row !== NONE) this.#free = words[row + Word.NEXT]!;
    else row = ROW_WORDS * this.#fresh++;
    words[row + Word.KEY] = this.#key;
    words[row + Word.KEY_LOW] = this.#keyLow;
    words[row + Word.KIND] = this.#kind;
    words[row + Word.FLOWS] = 0;
    words[row + Word.CLIENT_FLOWS] = 0;
    const bucket = this.#bucket();
    words[row + Word.NEXT] = this.#buckets[bucket]!;
    this.#buckets[bucket] = row;
    return row;
  }

  #remove(row: number): void {
    const words = this.#words;
    const bucket = this.#bucket();
    const next = words[row + Word.NEXT]!;
    let before = this.#buckets[bucket]!;
    if (before === row) this.#buckets[bucket] = next;
    else {
      while (words[before + Word.NEXT] !== row) before = words[before + Word.NEXT]!;
      words[before + Word.NEXT] = next;
    }
    words[row + Word.NEXT] = this.#free;
    this.#free = row;
  }
}

/** A power of two above `capacity`. */
export const bucketCount = (capacity: number): number => 2 ** Math.ceil(Math.log2(capacity + 1));
