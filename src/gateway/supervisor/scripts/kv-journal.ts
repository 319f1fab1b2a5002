/**
 * The scripts' KV as the gateway remembers it. A script host owns the KV, so that its calls stay
 * synchronous, and tells every write; the journal is what the next host starts from.
 */
import type { KvEntry } from '../../messages/script-control.ts';

export class KvJournal {
  readonly #scripts = new Map<string, Map<string, KvEntry>>();

  /** Takes writes in their order. */
  record(entries: readonly KvEntry[]): void {
    for (const entry of entries) {
      const keys = this.#scripts.get(entry.script) ?? new Map<string, KvEntry>();
      this.#scripts.set(entry.script, keys);
      if (entry.value === undefined) keys.delete(entry.key);
      else keys.set(entry.key, entry);
    }
  }

  /** What is alive at `nowMs`, milliseconds since 1970. */
  entries(nowMs: number): KvEntry[] {
    return [...this.#scripts.values()].flatMap((keys) =>
      [...keys.values()].filter(({ expiresAt }) => expiresAt === undefined || expiresAt > nowMs),
    );
  }

  /** Forgets scripts that are not in `names`, and what expired. */
  prune(names: ReadonlySet<string>, nowMs: number): void {
    for (const [script, keys] of this.#scripts) {
      if (!names.has(script)) this.#scripts.delete(script);
      for (const [key, { expiresAt }] of keys) {
        if (expiresAt !== undefined && expiresAt <= nowMs) keys.delete(key);
      }
    }
  }
}
