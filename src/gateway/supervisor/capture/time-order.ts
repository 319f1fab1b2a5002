/**
 * Packets of several queues in the order of their times. Each queue has its own in order; a packet
 * waits here for as long as one of another queue with an earlier time may still come.
 */

/**
 * Nanoseconds. A data plane tells of a packet when it is through with it: within microseconds,
 * unless the kernel lets others run meanwhile, which is some ten milliseconds on a busy machine.
 */
export const ORDER_WINDOW_NS = 50_000_000;
/** Bytes that may wait; beyond them the earliest go, in whatever order the rest comes. */
const HELD_MAX = 8 * 1024 * 1024;

interface Held {
  /** Nanoseconds of CLOCK_MONOTONIC. */
  readonly time: number;
  readonly block: Uint8Array;
}

export class TimeOrder {
  #held: Held[] = [];
  bytes = 0;

  push(time: number, block: Uint8Array): void {
    this.#held.push({ time, block });
    this.bytes += block.length;
  }

  /** Takes out, earliest first, what came until then, and what is too much to wait. */
  take(until: number): readonly Uint8Array[] {
    if (this.#held.length === 0) return [];
    // What came together is of one queue after the other: some runs, which are merged.
    this.#held.sort((a, b) => a.time - b.time);
    let count = 0;
    for (const { time, block } of this.#held) {
      if (time > until && this.bytes <= HELD_MAX) break;
      this.bytes -= block.length;
      count++;
    }
    return this.#held.splice(0, count).map(({ block }) => block);
  }

  clear(): void {
    this.#held = [];
    this.bytes = 0;
  }
}
