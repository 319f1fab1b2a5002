/** Where every packet went, in and out: the sums of stack/accounting.ts, and the drops in them. */
import { CAUSES, isDroppedOnArrival, OUTCOMES, WAITING } from '../../../stack/accounting.ts';
import { Counter, type CounterReader } from '../../../stack/counters.ts';
import { DROP_REASON_NAMES, DropReason } from '../../../stack/drop-reason.ts';
import { dropLayer } from './drop-layer.ts';
import type { MetricsText, Sample } from './metrics-text.ts';

export function writePackets(text: MetricsText, counters: CounterReader): void {
  const get = (counter: Counter) => counters.get(counter);
  let dropped = 0;
  for (const reason of DROP_REASON_NAMES.keys()) {
    if (isDroppedOnArrival(reason)) dropped += counters.dropped(reason);
  }
  text.counter('culvert_ingress_frames_total', 'Frames that came in, by what became of them.', [
    ...OUTCOMES.map(([counter, outcome]): Sample => [get(counter), { outcome }]),
    [dropped, { outcome: 'dropped' }],
  ]);
  text.gauge(
    'culvert_ingress_frames_waiting',
    'Frames that came in and wait for other fragments, a verdict, or another data plane.',
    [
      ...WAITING.map(([counter, where]): Sample => [get(counter), { where }]),
      [get(Counter.PEER_FRAMES_OUT) - get(Counter.PEER_FRAMES_IN), { where: 'peer' }],
    ],
  );
  text.counter(
    'culvert_egress_frames_total',
    'Frames for the device, by why they were sent.',
    CAUSES.map(([counter, cause]): Sample => [get(counter), { cause }]),
  );
  text.counter('culvert_ip_packets_total', 'IP packets, those of a superframe one by one.', [
    [get(Counter.DEVICE_PACKETS_IN), { direction: 'in' }],
    [get(Counter.DEVICE_PACKETS_OUT), { direction: 'out' }],
  ]);
  text.counter(
    'culvert_dropped_packets_total',
    'Packets that reached nobody, by reason.',
    DROP_REASON_NAMES.flatMap((name, reason): Sample[] =>
      reason === DropReason.NONE
        ? []
        : [[counters.dropped(reason), { reason: name, layer: dropLayer(reason) }]],
    ),
  );
  text.gauge('culvert_captures_active', 'Captures that run.', [[get(Counter.CAPTURES_NOW)]]);
  text.counter('culvert_captured_packets_total', 'Packets for captures, by what came of them.', [
    [get(Counter.CAPTURED), { result: 'copied' }],
    [get(Counter.CAPTURE_LOST), { result: 'lost' }],
  ]);
}
