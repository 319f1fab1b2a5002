/** Questions for the addresses of names, and who asked them. */
import { RenewedMap } from './renewed-map.ts';

/** @param error  why there is no address: `ENOTFOUND`; empty when there are some */
export type OnResolved = (addresses: readonly string[], error: string) => void;

export class Lookups {
  readonly #ask: (id: number, name: string) => void;
  readonly #waiting = new RenewedMap<number, OnResolved>();
  #lastId = 0;

  /** @param ask  its answer comes to `resolved` with the same id */
  constructor(ask: (id: number, name: string) => void) {
    this.#ask = ask;
  }

  resolve(name: string, onResolved: OnResolved): void {
    this.#lastId++;
    this.#waiting.set(this.#lastId, onResolved);
    this.#ask(this.#lastId, name);
  }

  /** An answer that nobody waits for is ignored. */
  resolved(id: number, addresses: readonly string[], error: string): void {
    const onResolved = this.#waiting.get(id);
    this.#waiting.delete(id);
    onResolved?.(addresses, error);
  }
}
