/** Sums of the scripts over all hosts: a host counts from its own start. */
import type { ScriptStats } from '../../messages/script-control.ts';

export interface ScriptTotals {
  readonly decisions: number;
  readonly errors: number;
  readonly limitHits: Readonly<Record<string, number>>;
  readonly cpuUs: number;
  readonly disabled: boolean;
}

const NOTHING: ScriptTotals = { decisions: 0, errors: 0, limitHits: {}, cpuUs: 0, disabled: false };

export class ScriptTotalsTable {
  /** By script, of hosts that are gone. */
  #past = new Map<string, ScriptTotals>();
  /** By script, of the host that runs. */
  #present = new Map<string, ScriptStats>();

  record(stats: readonly ScriptStats[]): void {
    for (const entry of stats) this.#present.set(entry.script, entry);
  }

  /** The host is gone: what it counted stays counted, what it disabled is gone with it. */
  hostEnded(): void {
    const sums = [...this.all()];
    this.#past = new Map(sums.map(([script, sum]) => [script, { ...sum, disabled: false }]));
    this.#present.clear();
  }

  /** As the host that runs said last. */
  present(script: string): ScriptStats | undefined {
    return this.#present.get(script);
  }

  of(script: string): ScriptTotals {
    return this.all().get(script) ?? NOTHING;
  }

  /** By script. */
  all(): ReadonlyMap<string, ScriptTotals> {
    const sums = new Map(this.#past);
    for (const stats of this.#present.values()) {
      sums.set(stats.script, add(sums.get(stats.script) ?? NOTHING, stats));
    }
    return sums;
  }
}

function add(past: ScriptTotals, stats: ScriptStats): ScriptTotals {
  const limitHits = { ...past.limitHits };
  for (const [kind, hits] of Object.entries(stats.limitHits)) {
    limitHits[kind] = (limitHits[kind] ?? 0) + hits;
  }
  return {
    decisions: past.decisions + stats.decisions,
    errors: past.errors + stats.errors,
    limitHits,
    cpuUs: past.cpuUs + stats.cpuUs,
    disabled: stats.disabled,
  };
}
