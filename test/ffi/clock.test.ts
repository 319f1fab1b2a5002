import { expect, test } from 'bun:test';
import { kernelMonotonicMicros, monotonicNow } from '../../src/ffi/clock.ts';
import { runChild } from './support/child.ts';

/** How far the offsets of two processes may differ when each measurement was disturbed. */
const TOLERANCE_US = 2000;

test('monotonicNow is CLOCK_MONOTONIC, in whole microseconds', () => {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 100; i++) {
    const before = kernelMonotonicMicros();
    const now = monotonicNow();
    const after = kernelMonotonicMicros();
    expect(Number.isInteger(now)).toBe(true);
    least = Math.min(least, Math.max(before - now, now - after, 0));
  }
  expect(least).toBeLessThan(10);
});

test('monotonicNow never goes back', () => {
  let last = monotonicNow();
  let steps = 0;
  for (let i = 0; i < 100_000; i++) {
    const now = monotonicNow();
    if (now < last) throw new Error(`from ${last} to ${now}`);
    if (now > last) steps++;
    last = now;
  }
  expect(steps).toBeGreaterThan(0);
});

test('instants of another process compare with ours', async () => {
  const before = monotonicNow();
  const theirs = await runChild('clock-child.ts');
  const after = monotonicNow();
  expect(theirs).toBeGreaterThan(before - TOLERANCE_US);
  expect(theirs).toBeLessThan(after + TOLERANCE_US);
});
