/** Distributions as Prometheus wants them. */
import type { CounterReader } from '../../../stack/counters.ts';
import { type Histogram as Cells, HISTOGRAM_BOUNDS } from '../../../stack/histograms.ts';

/** Bounds of the buckets of the data plane. @param scale  how many of its units make one here */
export const boundsOf = (cells: Cells, scale: number): number[] =>
  (HISTOGRAM_BOUNDS[cells] ?? []).map((bound) => bound / scale);

/** What the data plane has counted. @param scale  how many of its units make one here */
export function histogramOf(counters: CounterReader, cells: Cells, scale: number): Histogram {
  const histogram = new Histogram(boundsOf(cells, scale));
  for (let bucket = 0; bucket <= histogram.bounds.length; bucket++) {
    histogram.counts[bucket] = counters.bucket(cells, bucket);
  }
  histogram.sum = counters.sum(cells) / scale;
  return histogram;
}

export class Histogram {
  /** Upper bounds, ascending; one more bucket takes the rest. */
  readonly bounds: readonly number[];
  /** Not cumulative: values in the bucket itself. */
  readonly counts: number[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(value: number): void {
    const found = this.bounds.findIndex((bound) => value <= bound);
    const bucket = found < 0 ? this.bounds.length : found;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += value;
  }
}
