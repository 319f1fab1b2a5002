/** What scripts have measured, in groups that fit into a frame each. */
import { JSON_BYTES_PER_UNIT, jsonChunks } from './json-chunks.ts';
import type { MetricDelta } from './script-control.ts';

/** Names of the fields, their punctuation, the value and the buckets of a histogram. */
const DELTA_OVERHEAD_BYTES = 512;
/** Quotes, a colon and a comma. */
const LABEL_OVERHEAD_BYTES = 6;

/** A script may have thousands of series, with labels of a kilobyte each. */
export const metricChunks = (deltas: readonly MetricDelta[]): Generator<readonly MetricDelta[]> =>
  jsonChunks(deltas, jsonBytesAtMost);

function jsonBytesAtMost({ script, name, labels }: MetricDelta): number {
  let bytes = DELTA_OVERHEAD_BYTES + (script.length + name.length) * JSON_BYTES_PER_UNIT;
  for (const [label, value] of Object.entries(labels)) {
    bytes += (label.length + value.length) * JSON_BYTES_PER_UNIT + LABEL_OVERHEAD_BYTES;
  }
  return bytes;
}
