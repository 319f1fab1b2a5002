/** Who waits for the addresses of a name; one lookup is enough for all of them. */
import { RenewedMap } from '../renewed-map.ts';

interface Lookup {
  readonly id: number;
  readonly name: string;
  /** Requests. */
  readonly waiting: Set<number>;
}

export class NameWaits {
  readonly #byId = new RenewedMap<number, Lookup>();
  readonly #byName = new RenewedMap<string, Lookup>();
  #lastId = 0;

  /** @returns the number of a lookup that has to be started; undefined when one is under way */
  wait(name: string, requestId: number): number | undefined {
    const known = this.#byName.get(name);
    known?.waiting.add(requestId);
    if (known !== undefined) return undefined;
    const lookup = { id: ++this.#lastId, name, waiting: new Set([requestId]) };
    this.#byId.set(lookup.id, lookup);
    this.#byName.set(name, lookup);
    return lookup.id;
  }

  /** The request needs the name no longer. */
  leave(name: string, requestId: number): void {
    const lookup = this.#byName.get(name);
    if (lookup === undefined) return;
    lookup.waiting.delete(requestId);
    if (lookup.waiting.size === 0) this.#forget(lookup);
  }

  /** Who waited for a lookup that is over now; nobody, when all have left. */
  take(id: number): ReadonlySet<number> {
    const lookup = this.#byId.get(id);
    if (lookup === undefined) return new Set();
    this.#forget(lookup);
    return lookup.waiting;
  }

  #forget({ id, name }: Lookup): void {
    this.#byId.delete(id);
    this.#byName.delete(name);
  }
}
