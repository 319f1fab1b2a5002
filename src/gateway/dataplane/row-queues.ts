/** Not a row. */
export const NO_ROW = -1;

/**
 * Rows in queues, each row in at most one: pushed at the end, and taken out from anywhere. Columns
 * of links, made once; nothing is allocated later.
 */
export class RowQueues {
  readonly #heads: Int32Array;
  readonly #tails: Int32Array;
  readonly #sizes: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Queue of each row, and one more; 0 while it is in none. */
  readonly #queueOf: Int32Array;

  constructor(queues: number, rows: number) {
    this.#heads = new Int32Array(queues).fill(NO_ROW);
    this.#tails = new Int32Array(queues).fill(NO_ROW);
    this.#sizes = new Int32Array(queues);
    this.#next = new Int32Array(rows);
    this.#previous = new Int32Array(rows);
    this.#queueOf = new Int32Array(rows);
  }

  size(queue: number): number {
    return this.#sizes[queue]!;
  }

  /** The row that was pushed first, or NO_ROW. */
  oldest(queue: number): number {
    return this.#heads[queue]!;
  }

  /** The row that was pushed after `row` to the same queue, or NO_ROW. */
  after(row: number): number {
    return this.#next[row]!;
  }

  push(queue: number, row: number): void {
    const tail = this.#tails[queue]!;
    this.#queueOf[row] = queue + 1;
    this.#next[row] = NO_ROW;
    this.#previous[row] = tail;
    if (tail === NO_ROW) this.#heads[queue] = row;
    else this.#next[tail] = row;
    this.#tails[queue] = row;
    this.#sizes[queue]! += 1;
  }

  /** Takes `row` out of the queue that it is in, if it is in one. */
  remove(row: number): void {
    const queue = this.#queueOf[row]! - 1;
    if (queue < 0) return;
    const next = this.#next[row]!;
    const previous = this.#previous[row]!;
    if (previous === NO_ROW) this.#heads[queue] = next;
    else this.#next[previous] = next;
    if (next === NO_ROW) this.#tails[queue] = previous;
    else this.#previous[next] = previous;
    this.#sizes[queue]! -= 1;
    this.#queueOf[row] = 0;
  }
}
