/** What scripts did and measured, over all hosts, and what they hear of flows that ended. */
import type { EndedFlow, FromScriptHost, ScriptStats } from '../../messages/script-control.ts';
import { ClosedFlows } from '../flows/closed-flows.ts';
import { ScriptSeries } from '../metrics/script-series.ts';
import { ScriptTotalsTable } from './script-totals.ts';

export class ScriptAccounts {
  readonly totals = new ScriptTotalsTable();
  readonly metrics = new ScriptSeries();
  readonly closed: ClosedFlows;
  /** Told of limits that a script has hit since the last time. */
  onLimit: (script: string, kind: string, hits: number) => void = () => {};

  /** @param send  to the host that runs */
  constructor(send: (flows: readonly EndedFlow[]) => void) {
    this.closed = new ClosedFlows(send);
  }

  /** Takes what the host that runs says of its scripts; other messages are for others. */
  receive(message: FromScriptHost): void {
    if (message.kind === 'stats') this.#recordStats(message.scripts);
    if (message.kind === 'metrics') this.metrics.record(message.series);
    if (message.kind === 'closed-told') this.closed.told();
  }

  #recordStats(stats: readonly ScriptStats[]): void {
    for (const { script, limitHits } of stats) {
      const before = this.totals.present(script)?.limitHits ?? {};
      for (const [kind, hits] of Object.entries(limitHits)) {
        const more = hits - (before[kind] ?? 0);
        if (more > 0) this.onLimit(script, kind, more);
      }
    }
    this.totals.record(stats);
  }

  /** Forgets scripts that are not in `names`. */
  prune(names: ReadonlySet<string>): void {
    this.metrics.prune(names);
    this.totals.prune(names);
  }

  hostEnded(): void {
    this.totals.hostEnded();
    this.closed.stop();
  }
}
