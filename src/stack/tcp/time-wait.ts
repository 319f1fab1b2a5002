import { NO_ROW, type Tcb } from './tcb.ts';

/**
 * Connections in TIME-WAIT, oldest first: a bounded list through the TCBs. When it is full, the
 * oldest gives way: a row is worth more than the last seconds of an ended connection.
 */
export class TimeWaitList {
  readonly #tcb: Tcb;
  /** What is there beyond a limit that was lowered ends in its time. */
  limit: number;
  #head = NO_ROW;
  #tail = NO_ROW;
  #count = 0;

  /** @param tcb  a cursor of its own, not the shared one */
  constructor(tcb: Tcb, limit: number) {
    this.#tcb = tcb;
    this.limit = limit;
  }

  get count(): number {
    return this.#count;
  }

  /** The oldest row, or NO_ROW. */
  get oldest(): number {
    return this.#head;
  }

  get isFull(): boolean {
    return this.#count >= this.limit;
  }

  add(row: number): void {
    const tcb = this.#tcb.moveTo(row);
    tcb.waitNext = NO_ROW;
    tcb.waitPrevious = this.#tail;
    if (this.#tail === NO_ROW) this.#head = row;
    else this.#tcb.moveTo(this.#tail).waitNext = row;
    this.#tail = row;
    this.#count += 1;
  }

  remove(row: number): void {
    const tcb = this.#tcb.moveTo(row);
    const next = tcb.waitNext;
    const previous = tcb.waitPrevious;
    if (next === NO_ROW) this.#tail = previous;
    else this.#tcb.moveTo(next).waitPrevious = previous;
    if (previous === NO_ROW) this.#head = next;
    else this.#tcb.moveTo(previous).waitNext = next;
    this.#count -= 1;
  }
}
