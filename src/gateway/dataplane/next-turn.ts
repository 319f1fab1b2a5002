import type { UpstreamTable } from './forward/upstream-table.ts';
import { NO_ROW } from './row-queues.ts';

/** How long who found no slab waits: an acknowledgment brings one back sooner or later. */
export const STARVED_WAIT_MS = 2;

/**
 * Rows to go on with in the next turn of the loop: their share was used up, or there was no slab.
 * Each stands in it once, which a bit of the row says; one that was cleared meanwhile is passed by.
 */
export class NextTurn {
  /** Somebody found no slab in this turn. */
  isStarved = false;
  readonly #bits: Pick<UpstreamTable, 'has' | 'raise' | 'lower'>;
  readonly #bit: number;
  #listed: Int32Array;
  #listedCount = 0;
  #taken: Int32Array;

  /** @param bit  of UpstreamBit, this list's own */
  constructor(bits: Pick<UpstreamTable, 'has' | 'raise' | 'lower'>, bit: number, rows: number) {
    this.#bits = bits;
    this.#bit = bit;
    // A row may stand here twice, when its flow ended while it was listed.
    this.#listed = new Int32Array(rows * 2);
    this.#taken = new Int32Array(rows * 2);
  }

  /** Milliseconds that the loop may sleep: none while a row goes on, few while slabs are short. */
  get patienceMs(): number {
    if (this.#listedCount === 0) return Number.POSITIVE_INFINITY;
    return this.isStarved ? STARVED_WAIT_MS : 0;
  }

  add(row: number): void {
    if (this.#bits.has(row, this.#bit)) return;
    this.#bits.raise(row, this.#bit);
    this.#listed[this.#listedCount++] = row;
  }

  /** The next turn begins: what is added from here on is for the one behind it. @returns rows */
  begin(): number {
    const rows = this.#listed;
    const count = this.#listedCount;
    this.#listed = this.#taken;
    this.#taken = rows;
    this.#listedCount = 0;
    this.isStarved = false;
    return count;
  }

  /** @returns the row at a position of this turn, or NO_ROW for one that was cleared */
  take(position: number): number {
    const row = this.#taken[position]!;
    if (!this.#bits.has(row, this.#bit)) return NO_ROW;
    this.#bits.lower(row, this.#bit);
    return row;
  }
}
