/** What scripts measure, summed over all hosts: they tell differences. */
import { HISTOGRAM_BOUNDS } from '../../../scripts-runtime/metrics/script-metrics.ts';
import type { MetricDelta } from '../../messages/script-control.ts';
import { Histogram } from './histogram.ts';
import type { Labels, MetricsText, Sample } from './metrics-text.ts';

/** Of all scripts together: a host runs code of strangers, and says what it likes. */
const SERIES_MAX = 50_000;

interface Series {
  readonly script: string;
  readonly labels: Labels;
  value: number;
  readonly histogram: Histogram | undefined;
}

interface Family {
  readonly kind: MetricDelta['kind'];
  /** By script and labels. */
  readonly series: Map<string, Series>;
}

export class ScriptSeries {
  readonly #families = new Map<string, Family>();
  #count = 0;

  record(deltas: readonly MetricDelta[]): void {
    for (const delta of deltas) this.#add(delta);
  }

  /** Forgets scripts that are not in `names`. */
  prune(names: ReadonlySet<string>): void {
    for (const [name, { series }] of this.#families) {
      for (const [key, { script }] of series) {
        if (names.has(script)) continue;
        series.delete(key);
        this.#count--;
      }
      if (series.size === 0) this.#families.delete(name);
    }
  }

  /** As `culvert_script_<name>`, with the label `script`. */
  write(text: MetricsText): void {
    for (const [name, { kind, series }] of this.#families) {
      const full = `culvert_script_${name}`;
      const help = 'Measured by scripts.';
      const all = [...series.values()];
      if (kind === 'histogram') {
        text.histograms(
          full,
          help,
          all.flatMap(({ labels, histogram }) => (histogram ? [[labels, histogram] as const] : [])),
        );
      } else {
        text[kind](
          full,
          help,
          all.map(({ labels, value }): Sample => [value, labels]),
        );
      }
    }
  }

  #add({ script, name, kind, labels, value, buckets }: MetricDelta): void {
    const family = this.#family(name, kind, script);
    if (family === undefined) return;
    const key = JSON.stringify([script, ...Object.entries(labels).flat()]);
    const series = family.series.get(key) ?? {
      script,
      labels: { script, ...labels },
      value: 0,
      histogram: kind === 'histogram' ? new Histogram(HISTOGRAM_BOUNDS) : undefined,
    };
    if (!family.series.has(key)) {
      if (this.#count >= SERIES_MAX) return;
      family.series.set(key, series);
      this.#count++;
    }
    series.value = kind === 'gauge' ? value : series.value + value;
    if (series.histogram === undefined || buckets === undefined) return;
    series.histogram.sum += value;
    for (const [i, count] of buckets.entries()) {
      if (i < series.histogram.counts.length) {
        series.histogram.counts[i] = (series.histogram.counts[i] ?? 0) + count;
      }
    }
  }

  /** A script may have changed its mind about the kind; two scripts that differ were told. */
  #family(name: string, kind: Family['kind'], script: string): Family | undefined {
    const known = this.#families.get(name);
    if (known?.kind === kind) return known;
    if (known !== undefined) {
      if ([...known.series.values()].some((series) => series.script !== script)) return undefined;
      this.#count -= known.series.size;
    }
    if (this.#count >= SERIES_MAX) return undefined;
    const family: Family = { kind, series: new Map() };
    this.#families.set(name, family);
    return family;
  }
}
