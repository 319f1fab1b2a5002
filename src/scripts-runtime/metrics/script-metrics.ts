/**
 * What a script measures: `ctx.metrics`. It outlives generations, as its counters do, and what
 * changed is told now and then as differences, so that sums outlive the host.
 */
import type { MetricDelta, MetricKind } from '../bundle/bundle.ts';
import type { ScriptLimits } from '../limits.ts';

/** Upper bounds of histograms, as most clients of Prometheus have them: made for seconds. */
export const HISTOGRAM_BOUNDS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** Value of every label of the series that takes what is one series too many. */
const OTHER = '__other__';

/** Names that are the gateway's own behind `culvert_script_`. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set([
  'version_info',
  'generations',
  'flows',
  'decision_seconds',
  'decision_seconds_sum',
  'decision_seconds_count',
  'decisions_total',
  'cpu_seconds_total',
  'decisions_failed_total',
  'decisions_late_total',
  'errors_total',
  'limit_hits_total',
  'limit',
  'closed_dropped_total',
  'flow_notes_lost_total',
  'disabled',
  'own_sockets',
  'own_dials_total',
  'restarts_total',
  'trials_total',
  'canary_decisions',
  'shadow_flows',
  'own_sockets',
  'own_dials_total',
]);

/** Of metrics and labels. */
export const METRIC_NAME = /^[a-zA-Z_][a-zA-Z0-9_]{0,63}$/;
/** What a histogram adds to its name. */
const HISTOGRAM_ENDINGS = /_(bucket|sum|count)$/;
export const LABELS_MAX = 8;
/** UTF-16 units; the rest is cut off. */
export const LABEL_LENGTH = 128;

/** A call made no sense, or went over a limit; the script sees `name` and `message`. */
export interface MetricFault {
  readonly name: 'TypeError' | 'LimitError';
  readonly message: string;
}

interface Series {
  readonly number: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Since the last report; of a gauge, as it is. */
  value: number;
  readonly buckets: number[] | undefined;
  hasChanged: boolean;
}

interface Metric {
  readonly name: string;
  readonly kind: MetricKind;
  /** Of the script that asked for it first. */
  readonly generation: number;
  readonly labelNames: readonly string[];
  readonly series: Map<string, Series>;
}

export type MetricLimits = Pick<ScriptLimits, 'metrics' | 'metricSeries'>;

/** Kinds by name: two scripts share a family, so they must agree. */
export type MetricKinds = Map<string, { readonly kind: MetricKind; readonly script: string }>;

export class ScriptMetrics {
  limits: MetricLimits;
  readonly #script: string;
  readonly #kinds: MetricKinds;
  readonly #metrics = new Map<string, Metric>();
  /** By the number that a script knows it by. */
  readonly #opened = new Map<number, { readonly kind: MetricKind; readonly series: Series }>();
  #lastNumber = 0;

  constructor(script: string, limits: MetricLimits, kinds: MetricKinds) {
    this.#script = script;
    this.limits = limits;
    this.#kinds = kinds;
  }

  /** Series that a number stands for. */
  get seriesKnown(): number {
    return this.#opened.size;
  }

  /**
   * Finds or makes a series.
   *
   * @param labels   pairs of text
   * @param onLimit  told of each look that ended in the series of all others
   * @returns        its number, for `record`
   */
  open(
    kind: MetricKind,
    name: string,
    labels: readonly (readonly [string, string])[],
    generation: number,
    onLimit: () => void,
  ): number | MetricFault {
    const sorted = labels.toSorted(([a], [b]) => (a < b ? -1 : 1));
    const names = sorted.map(([label]) => label);
    const metric = this.#metric(kind, name, names, generation);
    if ('message' in metric) return metric;
    const values = sorted.map(([, value]) => value.slice(0, LABEL_LENGTH));
    const known = metric.series.get(JSON.stringify(values));
    if (known !== undefined) return known.number;
    const isFull = metric.series.size >= this.limits.metricSeries && names.length > 0;
    if (isFull) onLimit();
    return this.#seriesNumber(metric, isFull ? values.map(() => OTHER) : values);
  }

  /** @param series  of `open`; another number does nothing */
  record(series: number, value: number): void {
    const opened = this.#opened.get(series);
    if (opened === undefined || !Number.isFinite(value)) return;
    const { kind, series: one } = opened;
    one.hasChanged = true;
    if (kind === 'gauge') {
      one.value = value;
      return;
    }
    one.value += value;
    if (one.buckets === undefined) return;
    const found = HISTOGRAM_BOUNDS.findIndex((bound) => value <= bound);
    const bucket = found < 0 ? HISTOGRAM_BOUNDS.length : found;
    one.buckets[bucket] = (one.buckets[bucket] ?? 0) + 1;
  }

  /** What changed since the last call. */
  takeChanges(): MetricDelta[] {
    const changes: MetricDelta[] = [];
    for (const { name, kind, series } of this.#metrics.values()) {
      for (const one of series.values()) {
        if (!one.hasChanged) continue;
        one.hasChanged = false;
        const { labels, value, buckets } = one;
        const script = this.#script;
        changes.push({
          script,
          name,
          kind,
          labels,
          value,
          ...(buckets && { buckets: [...buckets] }),
        });
        if (kind !== 'gauge') one.value = 0;
        buckets?.fill(0);
      }
    }
    return changes;
  }

  /** Nobody measures any more. */
  release(): void {
    for (const [name, { script }] of this.#kinds) {
      if (script === this.#script) this.#kinds.delete(name);
    }
  }

  #metric(
    kind: MetricKind,
    name: string,
    labelNames: readonly string[],
    generation: number,
  ): Metric | MetricFault {
    const known = this.#metrics.get(name);
    const isSame = known?.kind === kind && String(known.labelNames) === String(labelNames);
    if (known !== undefined && isSame) return known;
    if (known !== undefined && known.generation >= generation) {
      const labels = known.labelNames.join(', ') || 'no labels';
      return typeError(`metric "${name}" is a ${known.kind} with ${labels} already`);
    }
    const fault = nameFault(kind, name, labelNames);
    if (fault !== undefined) return typeError(fault);
    const other = this.#kinds.get(name);
    if (other !== undefined && other.script !== this.#script && other.kind !== kind) {
      return typeError(`metric "${name}" is a ${other.kind} of the script "${other.script}"`);
    }
    if (known === undefined && this.#metrics.size >= this.limits.metrics) {
      return { name: 'LimitError', message: `more than ${this.limits.metrics} metrics (metrics)` };
    }
    if (other === undefined || other.script === this.#script) {
      this.#kinds.set(name, { kind, script: this.#script });
    }
    // Numbers of what it was before stand for nothing any more.
    for (const { number } of known?.series.values() ?? []) this.#opened.delete(number);
    const metric: Metric = { name, kind, generation, labelNames, series: new Map() };
    this.#metrics.set(name, metric);
    return metric;
  }

  #seriesNumber({ kind, labelNames, series }: Metric, values: readonly string[]): number {
    const key = JSON.stringify(values);
    const known = series.get(key);
    if (known !== undefined) return known.number;
    const number = ++this.#lastNumber;
    const made: Series = {
      number,
      labels: Object.fromEntries(labelNames.map((label, i) => [label, values[i] ?? ''])),
      value: 0,
      buckets: kind === 'histogram' ? HISTOGRAM_BOUNDS.concat(0).map(() => 0) : undefined,
      // So that a counter is there before it counts.
      hasChanged: true,
    };
    series.set(key, made);
    this.#opened.set(number, { kind, series: made });
    return number;
  }
}

const typeError = (message: string): MetricFault => ({ name: 'TypeError', message });

function nameFault(kind: MetricKind, name: string, labels: readonly string[]): string | undefined {
  const isTaken = RESERVED_NAMES.has(name) || HISTOGRAM_ENDINGS.test(name);
  if (!METRIC_NAME.test(name) || isTaken) return `"${name}" cannot be the name of a metric`;
  if (kind === 'histogram' && RESERVED_NAMES.has(`${name}_count`)) return `"${name}" is taken`;
  if (labels.length > LABELS_MAX) return `metric "${name}" has more than ${LABELS_MAX} labels`;
  const wrong = labels.find(
    (label) =>
      !METRIC_NAME.test(label) || ['script', 'le'].includes(label) || label.startsWith('__'),
  );
  return wrong === undefined ? undefined : `"${wrong}" cannot be the name of a label`;
}
