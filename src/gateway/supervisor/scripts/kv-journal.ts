/**
 * The scripts' KV as the gateway remembers it. A script host owns the KV, so that its calls stay
 * synchronous, and tells every write; the journal is what the next host starts from.
 *
 * A host that a script has broken out of may tell anything. So the journal takes what the scripts
 * of the bundles in memory may have by their limits, and leaves out the rest.
 */
import { type KvLimits, kvEntryBytes } from '../../../scripts-runtime/kv/kv.ts';
import type { KvEntry } from '../../messages/script-control.ts';
import type { Generation } from './generation.ts';

/**
 * Of `kvBytes`: what is deleted may be told after what came in its place, so that for a moment
 * there is what a store had before and what it has since.
 */
const STORES = 2;

interface Store {
  readonly entries: Map<string, KvEntry>;
  bytes: number;
}

type Bundle = Pick<Generation, 'number' | 'scripts' | 'limits'>;

/** Whose scripts may write: a generation in memory. */
interface Writers {
  readonly number: number;
  readonly names: ReadonlySet<string>;
  readonly limits: KvLimits;
}

/** Of what is loaded beside the bundle that decides. */
type JournalRole = 'next' | 'canary';

/**
 * Generations that were replaced and drain yet. More come of a host that lies about what it has in
 * memory, or of a reload each second.
 */
const DRAINING_MAX = 16;

export class KvJournal {
  readonly #onRefused: (script: string) => void;
  readonly #beside = new Map<JournalRole, Writers>();
  #active: Writers | undefined;
  /** Oldest first. */
  #draining: readonly Writers[] = [];
  #inMemory: ReadonlySet<number> = new Set();
  readonly #stores = new Map<string, Store>();

  /** @param onRefused  told of each entry that no script can have written */
  constructor(onRefused: (script: string) => void = () => {}) {
    this.#onRefused = onRefused;
  }

  /** Scripts of this bundle may write now, beside those of the one that decides. */
  admit(role: JournalRole, bundle: Bundle): void {
    this.retire(role);
    this.#beside.set(role, writersOf(bundle));
  }

  /** It gets no new flow any more, or none ever; those that it has may go on. */
  retire(role: JournalRole): void {
    const writers = this.#beside.get(role);
    if (writers === undefined) return;
    this.#beside.delete(role);
    this.#drain(writers);
  }

  /** The bundle decides, and the one before drains; forgets what expired by `nowMs`. */
  commit(bundle: Bundle, nowMs: number): void {
    const before = this.#active;
    this.#active = writersOf(bundle);
    for (const [role, { number }] of this.#beside) {
      if (number === bundle.number) this.#beside.delete(role);
      else this.retire(role);
    }
    if (before !== undefined) this.#drain(before);
    this.#forgetExpired(nowMs);
  }

  /** The host has these generations: forgets others that drained, and scripts that were theirs. */
  retain(inMemory: readonly number[]): void {
    this.#inMemory = new Set(inMemory);
    this.#sweep();
  }

  /** Takes writes in their order. */
  record(entries: readonly KvEntry[]): void {
    for (const entry of entries) {
      if (entry.value === undefined) this.#delete(entry);
      else if (!this.#isTaken(entry, entry.value)) this.#onRefused(entry.script);
    }
  }

  /**
   * What is alive at `nowMs`, milliseconds since 1970. The rest is forgotten: a host that starts
   * from these never knew it, and so will not tell that it went.
   */
  entries(nowMs: number): KvEntry[] {
    this.#forgetExpired(nowMs);
    return [...this.#stores.values()].flatMap(({ entries }) => [...entries.values()]);
  }

  get #writers(): readonly Writers[] {
    const all = [this.#active, ...this.#beside.values(), ...this.#draining];
    return all.filter((writers) => writers !== undefined);
  }

  #drain(writers: Writers): void {
    this.#draining = [...this.#draining, writers];
    this.#sweep();
  }

  #sweep(): void {
    const known = this.#draining;
    const left = known.filter(({ number }) => this.#inMemory.has(number)).slice(-DRAINING_MAX);
    if (left.length === known.length) return;
    this.#draining = left;
    const writers = this.#writers;
    for (const script of this.#stores.keys()) {
      if (!writers.some(({ names }) => names.has(script))) this.#stores.delete(script);
    }
  }

  #forgetExpired(nowMs: number): void {
    for (const { entries } of this.#stores.values()) {
      for (const entry of entries.values()) {
        if (entry.expiresAt !== undefined && entry.expiresAt <= nowMs) this.#delete(entry);
      }
    }
  }

  #isTaken(entry: KvEntry, value: string | number): boolean {
    const { script, key } = entry;
    const limits = this.#limitsOf(script);
    if (limits === undefined || !isWithin(limits, key, value)) return false;
    const store = this.#stores.get(script) ?? { entries: new Map<string, KvEntry>(), bytes: 0 };
    const old = store.entries.get(key);
    const bytes = store.bytes - bytesOf(old) + kvEntryBytes(key, value);
    if (bytes > STORES * limits.kvBytes) return false;
    store.entries.set(key, entry);
    store.bytes = bytes;
    this.#stores.set(script, store);
    return true;
  }

  #delete({ script, key }: KvEntry): void {
    const store = this.#stores.get(script);
    if (store === undefined) return;
    store.bytes -= bytesOf(store.entries.get(key));
    store.entries.delete(key);
  }

  /** Of bundles in memory together, the larger of each; undefined for no script of theirs. */
  #limitsOf(script: string): KvLimits | undefined {
    return this.#writers
      .filter(({ names }) => names.has(script))
      .map(({ limits }) => limits)
      .reduce<KvLimits | undefined>(largerOf, undefined);
  }
}

const writersOf = ({ number, scripts, limits }: Bundle): Writers => {
  const { kvBytes, kvKeyBytes, kvValueBytes } = limits;
  const names = new Set(scripts.map(({ name }) => name));
  return { number, names, limits: { kvBytes, kvKeyBytes, kvValueBytes } };
};

const largerOf = (a: KvLimits | undefined, b: KvLimits): KvLimits => ({
  kvBytes: Math.max(a?.kvBytes ?? 0, b.kvBytes),
  kvKeyBytes: Math.max(a?.kvKeyBytes ?? 0, b.kvKeyBytes),
  kvValueBytes: Math.max(a?.kvValueBytes ?? 0, b.kvValueBytes),
});

const bytesOf = (entry: KvEntry | undefined): number =>
  entry?.value === undefined ? 0 : kvEntryBytes(entry.key, entry.value);

const isWithin = (
  { kvKeyBytes, kvValueBytes }: KvLimits,
  key: string,
  value: string | number,
): boolean =>
  Buffer.byteLength(key) <= kvKeyBytes &&
  (typeof value === 'number' || Buffer.byteLength(value) <= kvValueBytes);
