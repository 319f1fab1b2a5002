/** What the queues of the device have each, to see whether they share the load. */
import { Counter, type CounterReader } from '../../../stack/counters.ts';
import type { MetricsText, Sample } from './metrics-text.ts';

export function writeQueues(text: MetricsText, queues: readonly CounterReader[]): void {
  const each = (of: (queue: CounterReader) => number): Sample[] =>
    queues.map((queue, index) => [of(queue), { queue: index }]);
  text.gauge(
    'culvert_queue_flows_active',
    'Live flows of each queue of the device.',
    each((queue) => queue.get(Counter.FLOWS_NOW)),
  );
  text.counter(
    'culvert_queue_frames_total',
    'Frames read from each queue of the device.',
    each((queue) => queue.get(Counter.DEVICE_FRAMES_IN)),
  );
  text.counter(
    'culvert_queue_frames_handed_over_total',
    'Frames of flows of another queue that were read from this one.',
    each((queue) => queue.get(Counter.PEER_FRAMES_OUT)),
  );
}
