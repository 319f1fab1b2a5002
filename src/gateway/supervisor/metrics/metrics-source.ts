/** What the metrics are made of. */
import type { CounterReader } from '../../../stack/counters.ts';
import type { DeviceCounts } from '../device/device-metrics.ts';
import type { FlowDurations } from '../flows/ended-flows.ts';
import type { Census } from '../flows/live-flows.ts';
import type { Generation } from '../scripts/generation.ts';
import type { HostEnds } from '../scripts/host-ends.ts';
import type { ScriptTotals } from '../scripts/script-totals.ts';
import type { TrialOutcomes, TrialReport } from '../scripts/trials.ts';
import type { UpstreamState, UpstreamStates } from '../upstream-states.ts';
import type { ScriptSeries } from './script-series.ts';

export interface MetricsSource {
  readonly device: DeviceCounts;
  readonly counters: CounterReader;
  /** The same, of each queue of the device. */
  readonly queues: readonly CounterReader[];
  /** Reloads so far; times in milliseconds since 1970. */
  readonly reloads: {
    readonly ok: number;
    readonly failed: number;
    readonly lastOk: boolean;
    readonly lastOkAt: number;
  };
  readonly active: Pick<Generation, 'number' | 'limits'> & {
    readonly scripts: readonly { readonly name: string }[];
  };
  readonly trials: TrialOutcomes;
  readonly trial: TrialReport;
  readonly accounts: {
    readonly totals: { all(): ReadonlyMap<string, ScriptTotals> };
    readonly metrics: ScriptSeries;
    readonly closed: { readonly dropped: number };
  };
  readonly census: Census;
  readonly scriptHost: {
    readonly ends: Pick<HostEnds, 'all'>;
    readonly drains: { readonly inMemory: readonly number[] };
  };
  readonly dataPlaneRestarts: number;
  readonly durations: readonly FlowDurations[];
  /** Notes of script hosts about flows that found no room. */
  readonly notesLost: number;
  readonly upstreams: readonly UpstreamState[];
  readonly connectTimes: UpstreamStates['connectTimes'];
}
