/**
 * The key-value store of one script: `env.KV`. It outlives generations, and its changes are
 * journalled so that it outlives the host too. Everything is counted in bytes against a limit. A
 * full store says so, unless the caller has it evict what was made first.
 */
import type { KvEntry } from '../bundle/bundle.ts';
import type { ScriptLimits } from '../limits.ts';

export type KvValue = string | number;

/** What an entry costs besides its key and value: the map's own memory, about. */
const ENTRY_OVERHEAD_BYTES = 64;
const NUMBER_BYTES = 8;
const KEYS_LIMIT_DEFAULT = 1000;
/** A store that evicts is full all the time: too much to look through for each entry. */
const SWEEP_MS = 1000;
/** With fewer, the place of the next eviction is not looked for again. */
const REMOVALS_LEAST = 64;

interface Entry {
  readonly value: KvValue;
  /** Milliseconds since 1970, or Infinity. */
  readonly expiresAt: number;
  readonly bytes: number;
}

/** A call of the store was refused; the script sees `name` and `message`. */
export class KvError extends Error {
  override readonly name: string;
  /** `limit`: a limit was hit. `type`: the call makes no sense. */
  readonly code: 'limit' | 'type';

  constructor(code: 'limit' | 'type', message: string) {
    super(message);
    this.code = code;
    this.name = code === 'limit' ? 'LimitError' : 'TypeError';
  }
}

const valueBytesOf = (value: KvValue): number =>
  typeof value === 'string' ? Buffer.byteLength(value) : NUMBER_BYTES;

/** What an entry counts against `kvBytes`. */
export const kvEntryBytes = (key: string, value: KvValue): number =>
  Buffer.byteLength(key) + valueBytesOf(value) + ENTRY_OVERHEAD_BYTES;

/** Called for each entry that goes to make room; absent, none does. */
export type OnEvict = (() => void) | undefined;

export type KvLimits = Pick<ScriptLimits, 'kvBytes' | 'kvKeyBytes' | 'kvValueBytes'>;

export class Kv {
  limits: KvLimits;
  readonly #script: string;
  readonly #epochMs: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #changed = new Set<string>();
  /** Keys that the journal has: what came and went between two looks at it is not told. */
  readonly #journalled = new Set<string>();
  #bytes = 0;
  /**
   * At what is evicted next. A new iterator walks all that a Map still has of removed entries, so
   * one is kept; but each table that the Map outgrows lives as long as an iterator in it, so not
   * for more removals than there are entries.
   */
  #oldest: MapIterator<string> | undefined;
  /** Entries removed since `#oldest` was made. */
  #removed = 0;
  /** What `#oldest` has passed, as it was just being written: older than all behind. */
  #spared: string | undefined;
  /** When what has expired was looked for, in milliseconds since 1970. */
  #sweptAt = Number.NEGATIVE_INFINITY;

  /** @param epochMs  milliseconds since 1970 */
  constructor(script: string, limits: KvLimits, epochMs: () => number) {
    this.#script = script;
    this.limits = limits;
    this.#epochMs = epochMs;
  }

  /** Bytes counted against `kvBytes`. */
  get bytes(): number {
    return this.#bytes;
  }

  get hasChanges(): boolean {
    return this.#changed.size > 0;
  }

  get(key: string): KvValue | undefined {
    return this.#live(key)?.value;
  }

  /** @throws KvError  `limit` when key, value or store are too large; `type` for NaN */
  set(key: string, value: KvValue, ttlMs?: number, onEvict?: OnEvict): void {
    this.#put(key, value, this.#expiry(ttlMs), onEvict);
  }

  /** Sets only where there is nothing. @throws KvError */
  add(key: string, value: KvValue, ttlMs?: number, onEvict?: OnEvict): boolean {
    if (this.#live(key) !== undefined) return false;
    this.set(key, value, ttlMs, onEvict);
    return true;
  }

  /** Replaces `old` and keeps its time to live; `undefined` stands for no entry. @throws KvError */
  cas(key: string, old: KvValue | undefined, value: KvValue): boolean {
    const entry = this.#live(key);
    if (entry?.value !== old) return false;
    this.#put(key, value, entry?.expiresAt ?? Number.POSITIVE_INFINITY);
    return true;
  }

  /**
   * Adds to a number. A new entry starts at `init` and lives for `ttlMs`; an old one keeps its
   * time to live, so that a counter with one is a counter per window.
   *
   * @throws KvError  `type` when the entry is text
   */
  incr(key: string, by: number, init: number, ttlMs?: number, onEvict?: OnEvict): number {
    const entry = this.#live(key);
    if (typeof entry?.value === 'string') throw new KvError('type', `KV "${key}" is not a number`);
    const value = (entry?.value ?? init) + by;
    this.#put(key, value, entry?.expiresAt ?? this.#expiry(ttlMs), onEvict);
    return value;
  }

  delete(key: string): boolean {
    const existed = this.#live(key) !== undefined;
    if (existed) this.#remove(key);
    return existed;
  }

  /** In the order in which the keys were made. */
  keys(prefix = '', limit = KEYS_LIMIT_DEFAULT): string[] {
    const now = this.#epochMs();
    const found: string[] = [];
    for (const [key, entry] of this.#entries) {
      if (found.length >= limit) break;
      if (entry.expiresAt > now && key.startsWith(prefix)) found.push(key);
    }
    return found;
  }

  /** All that has not expired, in the order in which the keys were made. */
  entries(): [key: string, value: KvValue][] {
    const now = this.#epochMs();
    return [...this.#entries]
      .filter(([, { expiresAt }]) => expiresAt > now)
      .map(([key, { value }]) => [key, value]);
  }

  /** Takes an entry of a journal. What expired or no longer fits is left out, and told as gone. */
  restore({ key, value, expiresAt = Number.POSITIVE_INFINITY }: KvEntry): void {
    this.#journalled.add(key);
    this.#changed.add(key);
    if (value === undefined || expiresAt <= this.#epochMs()) return;
    try {
      this.#put(key, value, expiresAt);
      this.#changed.delete(key);
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
    }
  }

  /** What changed since the last call: one entry for each key, as it is now. */
  takeChanges(): KvEntry[] {
    const entries = Array.from(this.#changed, (key): KvEntry => {
      const entry = this.#entries.get(key);
      if (entry === undefined) this.#journalled.delete(key);
      else this.#journalled.add(key);
      return {
        script: this.#script,
        key,
        ...(entry === undefined ? {} : { value: entry.value }),
        ...(entry === undefined || entry.expiresAt === Number.POSITIVE_INFINITY
          ? {}
          : { expiresAt: entry.expiresAt }),
      };
    });
    this.#changed.clear();
    return entries;
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.expiresAt > this.#epochMs()) return entry;
    this.#remove(key);
    return undefined;
  }

  #put(key: string, value: KvValue, expiresAt: number, onEvict?: OnEvict): void {
    const keyBytes = Buffer.byteLength(key);
    const valueBytes = valueBytesOf(value);
    const { kvKeyBytes, kvValueBytes, kvBytes } = this.limits;
    // JSON, in which the journal is written, has no NaN and no Infinity.
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new KvError('type', `KV cannot hold ${value}`);
    }
    if (keyBytes > kvKeyBytes) {
      throw new KvError('limit', `KV key of ${keyBytes} bytes, at most ${kvKeyBytes} (kvKeyBytes)`);
    }
    if (valueBytes > kvValueBytes) {
      throw new KvError(
        'limit',
        `KV value of ${valueBytes} bytes, at most ${kvValueBytes} (kvValueBytes)`,
      );
    }
    const bytes = kvEntryBytes(key, value);
    const growth = bytes - (this.#entries.get(key)?.bytes ?? 0);
    const maySweep = onEvict === undefined || this.#epochMs() >= this.#sweptAt + SWEEP_MS;
    if (this.#bytes + growth > kvBytes && maySweep) this.#removeExpired();
    if (onEvict !== undefined && bytes <= kvBytes) this.#makeRoom(growth, key, onEvict);
    if (this.#bytes + growth > kvBytes) {
      throw new KvError('limit', `KV is full: ${kvBytes} bytes (kvBytes)`);
    }
    this.#bytes += bytes - (this.#entries.get(key)?.bytes ?? 0);
    this.#entries.set(key, { value, expiresAt, bytes });
    this.#changed.add(key);
  }

  #remove(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
    if (key === this.#spared) this.#spared = undefined;
    if (++this.#removed > Math.max(this.#entries.size, REMOVALS_LEAST)) this.#oldest = undefined;
    if (this.#journalled.has(key)) this.#changed.add(key);
    else this.#changed.delete(key);
  }

  #removeExpired(): void {
    const now = this.#epochMs();
    this.#sweptAt = now;
    for (const [key, { expiresAt }] of this.#entries) if (expiresAt <= now) this.#remove(key);
  }

  /**
   * Removes what was made first until `growth` fits; the entry of `key` itself stays.
   *
   * @param growth  that fits once all others are gone
   */
  #makeRoom(growth: number, key: string, onEvict: () => void): void {
    while (this.#bytes + growth > this.limits.kvBytes) {
      const oldest = this.#nextOldest(key);
      if (oldest === undefined) return;
      if (oldest === key) {
        this.#spared = key;
      } else {
        this.#remove(oldest);
        onEvict();
      }
    }
  }

  #nextOldest(key: string): string | undefined {
    if (this.#spared !== undefined && this.#spared !== key) return this.#spared;
    const next = this.#oldest?.next();
    if (next?.done === false) return next.value;
    this.#oldest = this.#entries.keys();
    this.#removed = 0;
    return this.#oldest.next().value;
  }

  #expiry(ttlMs: number | undefined): number {
    return ttlMs === undefined ? Number.POSITIVE_INFINITY : this.#epochMs() + ttlMs;
  }
}
