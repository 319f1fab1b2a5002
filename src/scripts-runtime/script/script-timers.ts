/** Deadlines of a sandbox's timers. */
import { TIMER_MS_MAX, TIMER_MS_MIN } from '../limits.ts';
import { RenewedMap } from '../renewed-map.ts';

const US_PER_MS = 1000;
const NEVER = Number.POSITIVE_INFINITY;

export class ScriptTimers {
  readonly #most: number;
  /** Microseconds by the id of the timer. */
  readonly #deadlines = new RenewedMap<number, number>();
  #next = NEVER;

  /** @param most  how many there can be at a time */
  constructor(most: number) {
    this.#most = most;
  }

  /** Microseconds; Infinity without timers. */
  get next(): number {
    return this.#next;
  }

  /** @returns false when there is no room */
  start(id: number, delayMs: number, now: number): boolean {
    if (this.#deadlines.size >= this.#most) return false;
    const delay = Math.min(Math.max(delayMs, TIMER_MS_MIN), TIMER_MS_MAX);
    const deadline = now + delay * US_PER_MS;
    this.#deadlines.set(id, deadline);
    this.#next = Math.min(this.#next, deadline);
    return true;
  }

  /** @returns false when it was not there any more */
  stop(id: number): boolean {
    return this.#deadlines.delete(id);
  }

  /** Those that are due at `now`, the oldest first. They stay until they are stopped. */
  due(now: number): number[] {
    if (now < this.#next) return [];
    return Array.from(this.#deadlines.entries())
      .filter(([, at]) => at <= now)
      .sort(([, a], [, b]) => a - b)
      .map(([id]) => id);
  }

  /** After timers were stopped. */
  updateNext(): void {
    let next = NEVER;
    for (const deadline of this.#deadlines.values()) if (deadline < next) next = deadline;
    this.#next = next;
  }

  clear(): void {
    this.#deadlines.clear();
    this.#next = NEVER;
  }
}
