/** When a child that ended may be started again. Pure: the time is an argument. */

/** Milliseconds over which ends are counted. */
const WINDOW_MS = 60_000;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5_000;

/** The first restart is immediate; each further one within a minute waits twice as long. */
export class CrashPolicy {
  readonly #giveUpAfter: number;
  #crashes: number[] = [];

  /** @param giveUpAfter  ends within a minute that are one too many */
  constructor(giveUpAfter = Number.POSITIVE_INFINITY) {
    this.#giveUpAfter = giveUpAfter;
  }

  /** Notes an end at `nowMs`; milliseconds to wait, or undefined to give up. */
  crashed(nowMs: number): number | undefined {
    this.#crashes = this.#crashes.filter((at) => nowMs - at < WINDOW_MS);
    this.#crashes.push(nowMs);
    const count = this.#crashes.length;
    if (count > this.#giveUpAfter) return undefined;
    return count === 1 ? 0 : Math.min(FIRST_DELAY_MS * 2 ** (count - 2), LONGEST_DELAY_MS);
  }
}
