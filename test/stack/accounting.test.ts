/** The sums after a data plane has died at any moment. */
import { expect, test } from 'bun:test';
import { forgetUnsettled } from '../../src/stack/accounting.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../src/stack/counters.ts';
import { DropReason } from '../../src/stack/drop-reason.ts';
import { checkBalance } from '../support/balance.ts';

function countersOf(values: readonly (readonly [Counter, number])[]): Counters {
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  for (const [counter, value] of values) counters.set(counter, value);
  return counters;
}

test('what waited is dropped with its data plane', () => {
  const counters = countersOf([
    [Counter.DEVICE_FRAMES_IN, 9],
    [Counter.IN_TCP, 4],
    [Counter.IN_PARKED_NOW, 3],
    [Counter.IN_FRAGMENTS_NOW, 2],
  ]);
  forgetUnsettled(counters);
  checkBalance(counters);
  expect(counters.dropped(DropReason.FLOW_ENDED)).toBe(5);
});

test('a frame that it was at is dropped too, and one that it was about to write was not', () => {
  const counters = countersOf([
    [Counter.DEVICE_FRAMES_IN, 9],
    [Counter.IN_TCP, 8],
    [Counter.DEVICE_FRAMES_OUT, 6],
    [Counter.OUT_TCP_ACK, 7],
  ]);
  forgetUnsettled(counters);
  checkBalance(counters);
  expect(counters.dropped(DropReason.FLOW_ENDED)).toBe(1);
  expect(counters.dropped(DropReason.DEVICE_WRITE_FAILED)).toBe(1);
});

test('what it had handed over, or was handed, is in no other place', () => {
  const counters = countersOf([
    [Counter.DEVICE_FRAMES_IN, 9],
    [Counter.PEER_FRAMES_OUT, 5],
    [Counter.PEER_FRAMES_IN, 3],
    [Counter.IN_SESSION, 7],
  ]);
  forgetUnsettled(counters);
  expect(counters.dropped(DropReason.FLOW_ENDED)).toBe(0);
});
