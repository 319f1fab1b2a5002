/**
 * The scripts' KV as the gateway remembers it. A script host owns the KV, so that its calls stay
 * synchronous, and tells every write; the journal is what the next host starts from.
 *
 * A host that a script has broken out of may tell anything. So the journal takes what the scripts
 * of the bundles in memory may have by their limits, and leaves out the rest.
 */
import { type KvLimits, kvEntryBytes } from '../../../scripts-runtime/kv/kv.ts';
import type { KvEntry } from '../../messages/script-control.ts';
import type { BundleContent } from './generation.ts';

/**
 * Of `kvBytes`: what is deleted may be told after what came in its place, so that for a moment
 * there is what a store had before and what it has since.
 */
const STORES = 2;

interface Store {
  readonly entries: Map<string, KvEntry>;
  bytes: number;
}

type Writers = Pick<BundleContent, 'scripts' | 'limits'>;

/** Whose scripts may write: of the bundle that decides, and of those that are loaded beside it. */
type JournalRole = 'active' | 'next' | 'canary';

export class KvJournal {
  readonly #onRefused: (script: string) => void;
  readonly #writers = new Map<JournalRole, Writers>();
  readonly #stores = new Map<string, Store>();

  /** @param onRefused  told of each entry that no script can have written */
  constructor(onRefused: (script: string) => void = () => {}) {
    this.#onRefused = onRefused;
  }

  /** The scripts of this bundle may write now, and no more those of the one before in its role. */
  admit(role: JournalRole, bundle: Writers): void {
    this.#writers.set(role, bundle);
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

  /** From now on there is this bundle and no other: forgets its others, and what expired. */
  prune(bundle: Writers, nowMs: number): void {
    this.#writers.clear();
    this.admit('active', bundle);
    const names = new Set(bundle.scripts.map(({ name }) => name));
    for (const script of this.#stores.keys()) if (!names.has(script)) this.#stores.delete(script);
    this.#forgetExpired(nowMs);
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
    return [...this.#writers.values()]
      .filter(({ scripts }) => scripts.some(({ name }) => name === script))
      .map(({ limits }): KvLimits => limits)
      .reduce<KvLimits | undefined>(largerOf, undefined);
  }
}

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
