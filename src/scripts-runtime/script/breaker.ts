/**
 * The circuit breaker of a script: so many hard limit hits within so much time, and it stays open
 * until somebody loads the script again.
 */
export class Breaker {
  readonly #hits: number;
  readonly #windowMs: number;
  /** Milliseconds of the last `#hits` hits, oldest first. */
  #recent: number[] = [];
  #open = false;

  /** @param hits  within `windowMs` milliseconds, at least 1 */
  constructor(hits: number, windowMs: number) {
    this.#hits = hits;
    this.#windowMs = windowMs;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  open(): void {
    this.#open = true;
  }

  /**
   * Counts a hit at `nowMs`, of any clock that does not go back.
   *
   * @returns true when this hit opened the breaker
   */
  hit(nowMs: number): boolean {
    if (this.#open) return false;
    this.#recent = this.#recent.filter((at) => nowMs - at < this.#windowMs);
    this.#recent.push(nowMs);
    this.#open = this.#recent.length >= this.#hits;
    return this.#open;
  }
}
