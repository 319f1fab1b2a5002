/** How much of its time a loop sleeps, looked at a period at a time. */

/** Some of the kernel's ticks: what has happened meanwhile is no accident. Microseconds. */
const PERIOD_US = 20_000;

export class IdleShare {
  #startedAt: number;
  #sleptUs = 0;

  /** @param now  microseconds, as all that follow */
  constructor(now: number) {
    this.#startedAt = now;
  }

  /**
   * A sleep of the loop is over.
   *
   * @returns from 0 to 1, where a period is over; else undefined
   */
  woke(now: number, sleptUs: number): number | undefined {
    this.#sleptUs += sleptUs;
    const lasted = now - this.#startedAt;
    if (lasted < PERIOD_US) return undefined;
    const share = this.#sleptUs / lasted;
    this.#startedAt = now;
    this.#sleptUs = 0;
    return share;
  }
}
