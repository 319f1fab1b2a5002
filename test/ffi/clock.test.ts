import { expect, test } from 'bun:test';
import { monotonicNow } from '../../src/ffi/clock.ts';
import { runChild } from './support/child.ts';

/** A preemption between two readings of two clocks. */
const TOLERANCE_US = 2000;

test('monotonicNow counts whole microseconds, as fast as time passes', () => {
  const start = monotonicNow();
  const startMs = performance.now();
  while (performance.now() - startMs < 20);
  const passedUs = (performance.now() - startMs) * 1000;
  const now = monotonicNow();
  expect(Number.isInteger(now)).toBe(true);
  expect(Math.abs(now - start - passedUs)).toBeLessThan(TOLERANCE_US);
});

test('monotonicNow never goes back, also over the end of a second', () => {
  const end = (Math.floor(monotonicNow() / 1_000_000) + 1) * 1_000_000;
  let last = monotonicNow();
  while (last <= end) {
    const now = monotonicNow();
    if (now < last) throw new Error(`from ${last} to ${now}`);
    last = now;
  }
  expect(last - end).toBeLessThan(TOLERANCE_US * 100);
});

test('instants of another process compare with ours', async () => {
  const before = monotonicNow();
  const theirs = await runChild('clock-child.ts');
  const after = monotonicNow();
  expect(theirs).toBeGreaterThan(before);
  expect(theirs).toBeLessThan(after);
});
