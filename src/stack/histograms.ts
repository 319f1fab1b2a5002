/** Distributions that the data plane counts, in cells behind the counters. */

export const Histogram = {
  /** Frames that one wake-up of the loop read. */
  BATCH_FRAMES: 0,
  /** Microseconds of a dial that succeeded. */
  DIAL_US: 1,
  /** Microseconds from a question to a script to its answer. */
  DECISION_US: 2,
} as const;
export type Histogram = (typeof Histogram)[keyof typeof Histogram];

const MS = 1000;
const S = 1_000_000;

/** Upper bounds of the buckets, ascending, by histogram; one more bucket takes the rest. */
export const HISTOGRAM_BOUNDS: readonly (readonly number[])[] = [
  // A power of two is what a batch fills up to; the loop reads 64 at most.
  [1, 2, 4, 8, 16, 32, 64],
  [0.1 * MS, 0.3 * MS, MS, 3 * MS, 10 * MS, 30 * MS, 100 * MS, 300 * MS, S, 3 * S, 10 * S],
  [50, 0.1 * MS, 0.2 * MS, 0.5 * MS, MS, 2 * MS, 5 * MS, 10 * MS, 50 * MS, 100 * MS, S],
];

export const HISTOGRAM_COUNT = HISTOGRAM_BOUNDS.length;
/** Of one histogram: its buckets, and the sum in the last cell. */
export const HISTOGRAM_CELLS = 16;
export const SUM_CELL = HISTOGRAM_CELLS - 1;

/** Buckets of a histogram, with that of the rest. */
export const bucketCount = (histogram: Histogram): number =>
  HISTOGRAM_BOUNDS[histogram]!.length + 1;

/** Which bucket counts the value. */
export function bucketOf(histogram: Histogram, value: number): number {
  const bounds = HISTOGRAM_BOUNDS[histogram]!;
  let bucket = 0;
  while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
  return bucket;
}

if (HISTOGRAM_BOUNDS.some((bounds) => bounds.length >= SUM_CELL)) {
  throw new Error('more buckets than cells');
}
