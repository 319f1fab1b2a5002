/** The functions behind guest/metrics.js. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { MetricKind } from '../bundle/bundle.ts';
import { type HostFunctions, readNumber, readText } from '../host-functions/arguments.ts';
import type { ScriptMetrics } from './script-metrics.ts';

const KINDS: readonly string[] = ['counter', 'gauge', 'histogram'] satisfies MetricKind[];

/** @param onLimit  a limit of this name was hit */
export function metricFunctions(
  context: QuickJSContext,
  { metrics, version }: { readonly metrics: ScriptMetrics; readonly version: string },
  onLimit: (limit: string) => void,
): HostFunctions {
  const generation = Number(version);
  const text = (handle: QuickJSHandle | undefined) => readText(context, handle) ?? '';
  return {
    openSeries: (kind, name, labels) => {
      const pairs = JSON.parse(text(labels)) as [string, string][];
      const known = KINDS.includes(text(kind)) ? (text(kind) as MetricKind) : 'counter';
      const series = metrics.open(known, text(name), pairs, generation, () => onLimit('series'));
      if (typeof series === 'number') return context.newNumber(series);
      if (series.name === 'LimitError') onLimit('metrics');
      return context.newString(JSON.stringify(series));
    },
    record: (series, value) => {
      metrics.record(readNumber(context, series), readNumber(context, value));
      return undefined;
    },
  };
}
