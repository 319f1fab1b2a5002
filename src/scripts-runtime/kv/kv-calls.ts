/** The calls of `env.KV` as they come out of a sandbox: a name and at most four values. */
import { type Kv, KvError, type KvValue } from './kv.ts';

/** Null: refused. */
export type KvResult = KvValue | boolean | null | undefined;

export class KvCalls {
  readonly #kv: Kv;
  readonly #onLimit: (limit: 'kv' | 'kv-evicted') => void;
  #lastError: KvError | undefined;

  /** @param onLimit  a call was refused because of a limit, or an entry went to make room */
  constructor(kv: Kv, onLimit: (limit: 'kv' | 'kv-evicted') => void) {
    this.#kv = kv;
    this.#onLimit = onLimit;
  }

  /** What the operation answers; null when it was refused, and then `error` tells why. */
  run(
    operation: string,
    key: string,
    value: KvValue | undefined,
    a: KvValue | undefined,
    b: KvValue | undefined,
    evicts: boolean,
  ): KvResult {
    const onEvict = evicts ? () => this.#onLimit('kv-evicted') : undefined;
    try {
      switch (operation) {
        case 'get':
          return this.#kv.get(key);
        case 'getJson':
          return JSON.stringify(this.#kv.get(key));
        case 'set':
          this.#kv.set(key, value ?? '', numberOf(a), onEvict);
          return undefined;
        case 'add':
          return this.#kv.add(key, value ?? '', numberOf(a), onEvict);
        case 'cas':
          return this.#kv.cas(key, a, value ?? '');
        case 'incr':
          return this.#kv.incr(key, numberOf(value) ?? 1, numberOf(a) ?? 0, numberOf(b), onEvict);
        case 'delete':
          return this.#kv.delete(key);
        case 'keys':
          return JSON.stringify(this.#kv.keys(key, numberOf(value)));
        default: {
          const { name, message } = this.#lastError ?? {};
          return JSON.stringify({ name, message });
        }
      }
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      if (error.code === 'limit') this.#onLimit('kv');
      this.#lastError = error;
      return null;
    }
  }
}

const numberOf = (value: KvValue | undefined): number | undefined =>
  typeof value === 'number' ? value : undefined;
