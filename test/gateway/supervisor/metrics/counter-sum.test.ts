import { expect, test } from 'bun:test';
import { CounterSum } from '../../../../src/gateway/supervisor/metrics/counter-sum.ts';
import { CloseReason } from '../../../../src/stack/close-reason.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../../../src/stack/counters.ts';
import { DropReason } from '../../../../src/stack/drop-reason.ts';

test('counts are added, and what holds of the gateway holds of every queue', () => {
  const parts = [1, 2].map(() => new Counters(new ArrayBuffer(COUNTERS_BYTES)));
  const [first, second] = parts as [Counters, Counters];
  first.add(Counter.FLOWS_TOTAL, 3);
  second.add(Counter.FLOWS_TOTAL, 4);
  first.drop(DropReason.PEER_FULL);
  second.close(CloseReason.EOF);
  first.set(Counter.DEVICE_UP_NOW, 1);
  const sum = new CounterSum(parts);
  expect(sum.get(Counter.FLOWS_TOTAL)).toBe(7);
  expect([sum.dropped(DropReason.PEER_FULL), sum.closed(CloseReason.EOF)]).toEqual([1, 1]);
  expect(sum.get(Counter.DEVICE_UP_NOW)).toBe(0);
  second.set(Counter.DEVICE_UP_NOW, 1);
  expect(sum.get(Counter.DEVICE_UP_NOW)).toBe(1);
});
