/** Counts values in buckets, as Prometheus wants them. */
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
