/** Counts of flows as samples: each verdict of each protocol is there from the start. */
import type { CounterReader } from '../../../stack/counters.ts';
import { COUNTED_PROTOS, FlowCount } from '../../../stack/flow-counts.ts';
import { VERDICT_NAMES } from '../../../stack/flow-row.ts';
import { flowTotal } from '../../../stack/flow-tally.ts';
import type { Labels, Sample } from './metrics-text.ts';

export const flowSamples = (counters: CounterReader, count: FlowCount, labels: Labels): Sample[] =>
  COUNTED_PROTOS.flatMap((proto, protoIndex) =>
    VERDICT_NAMES.map(
      (verdict, index): Sample => [
        counters.flows(count, index, protoIndex),
        { proto, verdict, ...labels },
      ],
    ),
  );

/** The same of all verdicts together. */
export const protoSamples = (counters: CounterReader, count: FlowCount): Sample[] =>
  COUNTED_PROTOS.map((proto, index): Sample => [flowTotal(counters, count, index), { proto }]);

/** Payload bytes of all flows. */
export const flowTraffic = (counters: CounterReader) => ({
  up: flowTotal(counters, FlowCount.BYTES_UP),
  down: flowTotal(counters, FlowCount.BYTES_DOWN),
});
