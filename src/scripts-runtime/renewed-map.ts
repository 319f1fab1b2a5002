/**
 * A Map for entries that come and go all the time, in the order in which they came.
 *
 * Where JavaScriptCore's Map outgrows its table, the old table points to the new one. Once a table
 * has become old to the garbage collector, all that follow it live on, with what was in them, until
 * the next full collection: 200 bytes and more for each decision of a script. So the Map itself is
 * made anew from time to time, which ends the chain.
 */
const RENEW_AFTER = 1024;

export class RenewedMap<K, V> {
  #map = new Map<K, V>();
  #added = 0;

  get size(): number {
    return this.#map.size;
  }

  get(key: K): V | undefined {
    return this.#map.get(key);
  }

  has(key: K): boolean {
    return this.#map.has(key);
  }

  /** Whoever walks over the values meanwhile sees those that were there before. */
  set(key: K, value: V): void {
    this.#added += 1;
    if (this.#added > RENEW_AFTER + this.#map.size) {
      this.#map = new Map(this.#map);
      this.#added = 0;
    }
    this.#map.set(key, value);
  }

  delete(key: K): boolean {
    return this.#map.delete(key);
  }

  clear(): void {
    this.#map.clear();
  }

  values(): MapIterator<V> {
    return this.#map.values();
  }

  entries(): MapIterator<[K, V]> {
    return this.#map.entries();
  }
}
