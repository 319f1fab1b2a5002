/**
 * Keeps lines that repeat from filling the disk: of one event, so many in a period; when it is
 * over, how many there were more. For warnings and errors: lines of `info` say what happened once.
 */

const LINES_PER_PERIOD = 20;
const PERIOD_MS = 10_000;

interface Count {
  passed: number;
  dropped: number;
}

export class RepeatLimit {
  readonly #onDropped: (event: string, dropped: number) => void;
  readonly #periodMs: number;
  /** Events of this period. */
  #counts = new Map<string, Count>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param onDropped  told at the end of a period, for each event of which lines were dropped */
  constructor(onDropped: (event: string, dropped: number) => void, periodMs = PERIOD_MS) {
    this.#onDropped = onDropped;
    this.#periodMs = periodMs;
  }

  /** Whether a line about the event is written. */
  passes(event: string): boolean {
    const count = this.#counts.get(event) ?? { passed: 0, dropped: 0 };
    this.#counts.set(event, count);
    // A gateway that only logs must be able to end.
    this.#timer ??= setTimeout(() => this.endPeriod(), this.#periodMs).unref();
    if (count.passed < LINES_PER_PERIOD) {
      count.passed++;
      return true;
    }
    count.dropped++;
    return false;
  }

  endPeriod(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const counts = this.#counts;
    this.#counts = new Map();
    for (const [event, { dropped }] of counts) if (dropped > 0) this.#onDropped(event, dropped);
  }
}
