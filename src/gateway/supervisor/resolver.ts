/** Resolves names for scripts, with a bound on how many at once. */
import { lookup } from 'node:dns/promises';

/** More than these are answered with an error: a script must not queue up the system's resolver. */
const IN_FLIGHT_MAX = 256;

export interface Resolved {
  readonly addresses: readonly string[];
  /** `ENOTFOUND` */
  readonly error?: string;
}

export class Resolver {
  readonly #lookup: (name: string) => Promise<readonly { readonly address: string }[]>;
  #inFlight = 0;

  constructor(find = (name: string) => lookup(name, { all: true })) {
    this.#lookup = find;
  }

  /** Every address of a name, in the order of the system (getaddrinfo). Never rejects. */
  async resolve(name: string): Promise<Resolved> {
    if (this.#inFlight >= IN_FLIGHT_MAX) return { addresses: [], error: 'EAGAIN' };
    this.#inFlight++;
    try {
      const found = await this.#lookup(name);
      return { addresses: found.map(({ address }) => address) };
    } catch (error) {
      return { addresses: [], error: (error as NodeJS.ErrnoException).code ?? 'EFAIL' };
    } finally {
      this.#inFlight--;
    }
  }
}
