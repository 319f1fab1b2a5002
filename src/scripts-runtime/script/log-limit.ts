const WINDOW_US = 1_000_000;

/** So many lines a second; what is over is counted. */
export class LogLimit {
  readonly #linesPerSecond: number;
  #windowStart = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #dropped = 0;

  constructor(linesPerSecond: number) {
    this.#linesPerSecond = linesPerSecond;
  }

  /** Whether a line may be written at `now`, in microseconds. */
  admits(now: number): boolean {
    if (now - this.#windowStart >= WINDOW_US) {
      this.#windowStart = now;
      this.#lines = 0;
    }
    if (this.#lines < this.#linesPerSecond) {
      this.#lines++;
      return true;
    }
    this.#dropped++;
    return false;
  }

  /** Lines dropped since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }
}
