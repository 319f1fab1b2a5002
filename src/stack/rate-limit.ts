import type { Instant } from './time.ts';

/** A token bucket: answers that anybody can call for must not become a weapon. */
export class RateLimit {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #filledAt = 0;

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /** Takes a token. @returns false when there is none */
  take(now: Instant): boolean {
    const earned = ((now - this.#filledAt) * this.#perSecond) / 1_000_000;
    this.#tokens = Math.min(this.#burst, this.#tokens + earned);
    this.#filledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
