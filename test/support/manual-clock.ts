import { type Duration, type Instant, millis } from '../../src/stack/time.ts';

/** Well after the start of the machine: an instant of 0 means "not set" in some columns. */
export const CLOCK_START = 1_000_000_000 as Instant;

/** The clock of tests: time stands still until it is moved. */
export class ManualClock {
  #now: Instant;

  constructor(start: Instant = CLOCK_START) {
    this.#now = start;
  }

  get now(): Instant {
    return this.#now;
  }

  /** Milliseconds since the instant 0, as a uint32: what a timestamp option would carry. */
  get ms(): number {
    return Math.floor(this.#now / 1000) >>> 0;
  }

  /** @throws Error when `to` lies in the past */
  moveTo(to: Instant): void {
    if (to < this.#now) throw new Error(`time runs forward: ${to} is before ${this.#now}`);
    this.#now = to;
  }

  advance(span: Duration | number): void {
    this.moveTo((this.#now + span) as Instant);
  }

  /** The instant `ms` milliseconds from now. */
  in(ms: number): Instant {
    return (this.#now + millis(ms)) as Instant;
  }
}
