/** The counters of all data planes as those of one. */
import { Counter, type CounterReader } from '../../../stack/counters.ts';
import type { FlowCount } from '../../../stack/flow-counts.ts';
import type { Histogram } from '../../../stack/histograms.ts';

/** What is true of the gateway when it is true of all queues. */
const OF_ALL: ReadonlySet<Counter> = new Set([
  Counter.DEVICE_UP_NOW,
  Counter.OFFLOAD_NOW,
  // Each queue is told of every capture.
  Counter.CAPTURES_NOW,
]);

export class CounterSum implements CounterReader {
  readonly #parts: readonly CounterReader[];

  constructor(parts: readonly CounterReader[]) {
    this.#parts = parts;
  }

  get(counter: Counter): number {
    if (OF_ALL.has(counter)) return Math.min(...this.#parts.map((part) => part.get(counter)));
    return this.#sum((part) => part.get(counter));
  }

  dropped(reason: number): number {
    return this.#sum((part) => part.dropped(reason));
  }

  closed(reason: number): number {
    return this.#sum((part) => part.closed(reason));
  }

  flows(count: FlowCount, verdict: number, proto: number): number {
    return this.#sum((part) => part.flows(count, verdict, proto));
  }

  bucket(histogram: Histogram, bucket: number): number {
    return this.#sum((part) => part.bucket(histogram, bucket));
  }

  sum(histogram: Histogram): number {
    return this.#sum((part) => part.sum(histogram));
  }

  #sum(of: (part: CounterReader) => number): number {
    return this.#parts.reduce((sum, part) => sum + of(part), 0);
  }
}
