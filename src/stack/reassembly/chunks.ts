import type { Arena } from '../arena.ts';
import { FRAGMENT_UNIT } from './fragment.ts';

/** Payload bytes of a chunk: one fragment of the usual size takes two. */
export const CHUNK_BYTES = 1024;
/** 4 MiB in all, as Linux has by default (net.ipv4.ipfrag_high_thresh). */
export const CHUNK_COUNT = 4096;
export const CHUNK_UNITS = CHUNK_BYTES / FRAGMENT_UNIT;
/** One bit per unit that has arrived. */
const BITMAP_BYTES = CHUNK_UNITS / 8;
const STRIDE = BITMAP_BYTES + CHUNK_BYTES;

/** Not a chunk. */
export const NO_CHUNK = 0;

/** The memory of bytes that wait for the rest of their packet. Chunks are numbered from 1. */
export class Chunks {
  readonly #view: DataView;
  readonly #at: number;
  /** Numbers of the chunks that were given back. */
  readonly #free: Uint16Array;
  #freeCount = 0;
  /** Chunks never used since the start are not touched. */
  #fresh = 1;

  static readonly BYTES = CHUNK_COUNT * (STRIDE + 2) + 2 * 64;

  constructor(arena: Arena) {
    this.#view = arena.view;
    this.#at = arena.take(CHUNK_COUNT * STRIDE);
    this.#free = new Uint16Array(arena.buffer, arena.take(CHUNK_COUNT * 2), CHUNK_COUNT);
  }

  /** How many can be taken. */
  get free(): number {
    return CHUNK_COUNT - (this.#fresh - 1) + this.#freeCount;
  }

  /** A chunk in which nothing has arrived; there must be a free one. */
  take(): number {
    const chunk = this.#freeCount > 0 ? this.#free[--this.#freeCount]! : this.#fresh++;
    const at = this.#bitmapAt(chunk);
    for (let i = 0; i < BITMAP_BYTES; i += 4) this.#view.setInt32(at + i, 0);
    return chunk;
  }

  release(chunk: number): void {
    this.#free[this.#freeCount++] = chunk;
  }

  /** Position of the chunk's bytes. */
  bytesAt(chunk: number): number {
    return this.#bitmapAt(chunk) + BITMAP_BYTES;
  }

  has(chunk: number, unit: number): boolean {
    return (this.#view.getUint8(this.#bitmapAt(chunk) + (unit >>> 3)) & (1 << (unit & 7))) !== 0;
  }

  mark(chunk: number, unit: number): void {
    const at = this.#bitmapAt(chunk) + (unit >>> 3);
    this.#view.setUint8(at, this.#view.getUint8(at) | (1 << (unit & 7)));
  }

  #bitmapAt(chunk: number): number {
    return this.#at + (chunk - 1) * STRIDE;
  }
}
