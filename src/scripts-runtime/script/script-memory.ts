/** What scripts keep from one generation to the next, by their names: KV, counters and metrics. */
import type { KvEntry, MetricDelta, ScriptBundle, ScriptStats } from '../bundle/bundle.ts';
import { getOrAdd } from '../get-or-add.ts';
import { Kv } from '../kv/kv.ts';
import { type MetricKinds, ScriptMetrics } from '../metrics/script-metrics.ts';
import { Sets } from '../sets/sets.ts';
import { ScriptCounters } from './counters.ts';

/** For the scripts of a bundle while it loads: what is here already, or new. */
export interface OpenedMemory {
  readonly sets: Sets;
  kv(script: string): Kv;
  counters(script: string): ScriptCounters;
  metrics(script: string): ScriptMetrics;
}

export class ScriptMemory {
  readonly #epochMs: () => number;
  readonly #kv = new Map<string, Kv>();
  readonly #counters = new Map<string, ScriptCounters>();
  readonly #metrics = new Map<string, ScriptMetrics>();
  readonly #metricKinds: MetricKinds = new Map();
  /** Of the bundle that was loaded last. */
  #sets: Sets | undefined;

  /** @param epochMs  milliseconds since 1970 */
  constructor(epochMs: () => number) {
    this.#epochMs = epochMs;
  }

  get hasKvChanges(): boolean {
    for (const kv of this.#kv.values()) if (kv.hasChanges) return true;
    return false;
  }

  /** What is used is kept: a generation that ends meanwhile may be the last that had it. */
  open(bundle: ScriptBundle): OpenedMemory {
    const { limits } = bundle;
    const kvs = new Map<string, Kv>();
    const counters = new Map<string, ScriptCounters>();
    const metrics = new Map<string, ScriptMetrics>();
    return {
      sets: new Sets(bundle.sets ?? {}, this.#sets),
      kv: (name) => getOrAdd(kvs, name, () => this.#kv.get(name) ?? this.#restored(name, bundle)),
      counters: (name) =>
        getOrAdd(counters, name, () => this.#counters.get(name) ?? new ScriptCounters(name)),
      metrics: (name) =>
        getOrAdd(
          metrics,
          name,
          () => this.#metrics.get(name) ?? new ScriptMetrics(name, limits, this.#metricKinds),
        ),
    };
  }

  /**
   * The bundle has loaded. A canary shares what the script has that it may replace, and has no say
   * in its size.
   */
  keep(opened: OpenedMemory, { scripts, limits }: ScriptBundle, isCanary: boolean): void {
    const { kvBytes, kvKeyBytes, kvValueBytes } = limits;
    for (const { name } of scripts) {
      const kv = opened.kv(name);
      const metrics = opened.metrics(name);
      if (!isCanary) {
        kv.limits = { kvBytes, kvKeyBytes, kvValueBytes };
        metrics.limits = limits;
      }
      this.#kv.set(name, kv);
      this.#metrics.set(name, metrics);
      this.#counters.set(name, opened.counters(name));
    }
    this.#sets = opened.sets;
  }

  /** A script that no generation has any more may never come back. */
  forgetUnused(used: ReadonlySet<string>): void {
    for (const [name, metrics] of this.#metrics) if (!used.has(name)) metrics.release();
    for (const store of [this.#kv, this.#counters, this.#metrics]) {
      for (const name of store.keys()) if (!used.has(name)) store.delete(name);
    }
  }

  /** What the KV of a script holds, in the order in which the keys were made. */
  kvEntries(script: string): [key: string, value: string | number][] {
    return this.#kv.get(script)?.entries() ?? [];
  }

  takeKvChanges(): KvEntry[] {
    return Array.from(this.#kv.values()).flatMap((kv) => kv.takeChanges());
  }

  /** Of one script each; of those only that measured something. */
  takeMetricChanges(): MetricDelta[][] {
    return Array.from(this.#metrics.values(), (metrics) => metrics.takeChanges()).filter(
      (changes) => changes.length > 0,
    );
  }

  stats(): ScriptStats[] {
    return Array.from(this.#counters.values(), (counters) => counters.snapshot());
  }

  #restored(name: string, { kv: entries, limits }: ScriptBundle): Kv {
    const { kvBytes, kvKeyBytes, kvValueBytes } = limits;
    const kv = new Kv(name, { kvBytes, kvKeyBytes, kvValueBytes }, this.#epochMs);
    for (const entry of entries) if (entry.script === name) kv.restore(entry);
    return kv;
  }
}
