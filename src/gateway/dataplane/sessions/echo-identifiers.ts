/** Identifiers of echoes over raw sockets: each in use once, so that replies find their session. */
const IDENTIFIERS = 0x1_0000;

/** All are in use. */
export const NO_IDENTIFIER = -1;

export class EchoIdentifiers {
  readonly #used = new Uint8Array(IDENTIFIERS);
  #last: number;
  #count = 0;

  /** @param first  from the system's random source: other programs ping too */
  constructor(first: number) {
    this.#last = first % IDENTIFIERS;
  }

  /** The next one, so that a late reply to an earlier echo is not taken for one to this. */
  take(): number {
    if (this.#count === IDENTIFIERS) return NO_IDENTIFIER;
    do this.#last = (this.#last + 1) % IDENTIFIERS;
    while (this.#used[this.#last] !== 0);
    this.#used[this.#last] = 1;
    this.#count += 1;
    return this.#last;
  }

  release(identifier: number): void {
    this.#used[identifier] = 0;
    this.#count -= 1;
  }
}
