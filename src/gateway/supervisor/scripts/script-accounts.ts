/** What scripts did and measured, over all hosts, and what they hear of flows that ended. */
import type { EndedFlow, FromScriptHost } from '../../messages/script-control.ts';
import { ClosedFlows } from '../flows/closed-flows.ts';
import { ScriptMetricsTable } from '../metrics/script-metrics.ts';
import { ScriptTotalsTable } from './script-totals.ts';

export class ScriptAccounts {
  readonly totals = new ScriptTotalsTable();
  readonly metrics = new ScriptMetricsTable();
  readonly closed: ClosedFlows;

  /** @param send  to the host that runs */
  constructor(send: (flows: readonly EndedFlow[]) => void) {
    this.closed = new ClosedFlows(send);
  }

  /** Takes what the host that runs says of its scripts; other messages are for others. */
  receive(message: FromScriptHost): void {
    if (message.kind === 'stats') this.totals.record(message.scripts);
    if (message.kind === 'metrics') this.metrics.record(message.series);
    if (message.kind === 'closed-told') this.closed.told();
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
