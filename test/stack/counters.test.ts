import { expect, test } from 'bun:test';
import { CLOSE_REASON_COUNT } from '../../src/stack/close-reason.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../src/stack/counters.ts';
import { DROP_REASON_COUNT, DropReason } from '../../src/stack/drop-reason.ts';
import { FlowCount } from '../../src/stack/flow-counts.ts';
import { FLOW_ROW_BYTES, FlowField, VerdictCode } from '../../src/stack/flow-row.ts';
import { HISTOGRAM_BOUNDS, Histogram } from '../../src/stack/histograms.ts';

test('no two counters, drop reasons and close reasons share a cell', () => {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  const named = Object.values(Counter);
  for (const counter of named) counters.add(counter);
  for (let reason = 1; reason < DROP_REASON_COUNT; reason++) counters.drop(reason as DropReason);
  for (let reason = 0; reason < CLOSE_REASON_COUNT; reason++) counters.close(reason);
  for (const histogram of Object.values(Histogram)) counters.observe(histogram, 1e12);
  const row = new DataView(new ArrayBuffer(FLOW_ROW_BYTES));
  const flowCounts: [FlowCount, number, number][] = [];
  for (const count of Object.values(FlowCount)) {
    for (const verdict of Object.values(VerdictCode)) {
      for (const [proto, protocol] of [6, 17, 1, 132].entries()) {
        row.setUint8(FlowField.VERDICT, verdict);
        row.setUint8(FlowField.PROTOCOL, protocol);
        counters.countFlow(count, row, 0);
        flowCounts.push([count, verdict, proto]);
      }
    }
  }
  for (const cell of flowCounts) expect(counters.flows(...cell)).toBe(1);
  for (const histogram of Object.values(Histogram)) expect(counters.sum(histogram)).toBe(1e12);
  for (const counter of named) expect(counters.get(counter)).toBe(1);
  for (let reason = 1; reason < DROP_REASON_COUNT; reason++) {
    expect(counters.dropped(reason)).toBe(1);
  }
  for (let reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
    expect(counters.closed(reason)).toBe(1);
  }
});

test('drop hands its reason on, and counts no drop that is none', () => {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  expect(counters.drop(DropReason.PAWS)).toBe(DropReason.PAWS);
  expect(counters.drop(DropReason.NONE)).toBe(DropReason.NONE);
  expect(counters.dropped(DropReason.NONE)).toBe(0);
});

test('a second reader of the same memory sees what is counted', () => {
  const memory = new ArrayBuffer(64 + COUNTERS_BYTES);
  const writer = new Counters(memory, 64);
  const reader = new Counters(memory, 64);
  writer.add(Counter.DEVICE_BYTES_IN, 1500);
  writer.set(Counter.FLOWS_NOW, 3);
  expect(reader.get(Counter.DEVICE_BYTES_IN)).toBe(1500);
  expect(reader.get(Counter.FLOWS_NOW)).toBe(3);
});

test('a histogram counts each value in the bucket that it belongs to, and sums them', () => {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  const bounds = HISTOGRAM_BOUNDS[Histogram.BATCH_FRAMES]!;
  for (const bound of bounds) counters.observe(Histogram.BATCH_FRAMES, bound);
  counters.observe(Histogram.BATCH_FRAMES, 65);
  counters.observe(Histogram.DIAL_US, 1);
  const buckets = bounds.map((_, bucket) => counters.bucket(Histogram.BATCH_FRAMES, bucket));
  expect(buckets).toEqual(bounds.map(() => 1));
  expect(counters.bucket(Histogram.BATCH_FRAMES, bounds.length)).toBe(1);
  expect(counters.sum(Histogram.BATCH_FRAMES)).toBe(127 + 65);
  expect(counters.bucket(Histogram.DIAL_US, 0)).toBe(1);
});
