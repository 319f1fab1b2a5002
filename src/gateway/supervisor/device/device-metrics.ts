/** What went wrong with the device, and what happened to it, as metrics. */
import { Counter, type CounterReader } from '../../../stack/counters.ts';
import type { MetricsText } from '../metrics/metrics-text.ts';

const READ_ERRORS = {
  refused: Counter.DEVICE_READ_REFUSED,
  memory: Counter.DEVICE_READ_MEMORY,
  fault: Counter.DEVICE_READ_FAULT,
  other: Counter.DEVICE_READ_OTHER,
} as const;

const WRITE_ERRORS = {
  refused: Counter.DEVICE_WRITE_REFUSED,
  'too-long': Counter.DEVICE_WRITE_TOO_LONG,
  down: Counter.DEVICE_WRITE_DOWN,
  gone: Counter.DEVICE_WRITE_GONE,
  busy: Counter.DEVICE_WRITE_BUSY,
  memory: Counter.DEVICE_WRITE_MEMORY,
  fault: Counter.DEVICE_WRITE_FAULT,
  other: Counter.DEVICE_WRITE_OTHER,
} as const;

/** How often each happened, by its name. */
export interface DeviceCounts {
  readonly events: ReadonlyMap<string, number>;
  readonly watchErrors: ReadonlyMap<string, number>;
}

export function writeDeviceHealth(
  text: MetricsText,
  counters: CounterReader,
  { events, watchErrors }: DeviceCounts,
): void {
  const get = (counter: Counter) => counters.get(counter);
  const errors = (direction: string, table: Readonly<Record<string, Counter>>) =>
    Object.entries(table).map(([reason, counter]) => ({ direction, reason, count: get(counter) }));
  text.counter(
    'culvert_tun_errors_total',
    'Reads and writes of the device that the kernel refused.',
    [...errors('in', READ_ERRORS), ...errors('out', WRITE_ERRORS)].map(({ count, ...labels }) => [
      count,
      labels,
    ]),
  );
  text.counter('culvert_tun_offload_downgrades_total', 'Offloads that were given up.', [
    [get(Counter.OFFLOAD_DOWNGRADES), { reason: 'einval' }],
    [get(Counter.OFFLOAD_DOWNGRADES_EIO), { reason: 'eio' }],
  ]);
  text.counter('culvert_tun_packets_coalesced_total', 'Packets that became superpackets here.', [
    [get(Counter.PACKETS_COALESCED)],
  ]);
  text.counter('culvert_tun_read_batches_total', 'Times that the device was read.', [
    [get(Counter.DEVICE_READ_BATCHES) - get(Counter.DEVICE_READ_BATCHES_FULL), { kind: 'drained' }],
    [get(Counter.DEVICE_READ_BATCHES_FULL), { kind: 'full' }],
  ]);
  text.counter(
    'culvert_tun_events_total',
    'What happened to the interface.',
    [...events].map(([event, count]) => [count, { event }]),
  );
  text.counter(
    'culvert_tun_watch_errors_total',
    'Times that the kernel did not tell how the interface is.',
    [...watchErrors].map(([code, count]) => [count, { code }]),
  );
}
