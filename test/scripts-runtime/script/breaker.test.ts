import { expect, test } from 'bun:test';
import { Breaker } from '../../../src/scripts-runtime/script/breaker.ts';

test('the breaker opens with the last hit of a full window', () => {
  const breaker = new Breaker(3, 100);
  expect([0, 50, 99].map((at) => breaker.hit(at))).toEqual([false, false, true]);
  expect(breaker.isOpen).toBe(true);
  expect(breaker.hit(100)).toBe(false);
});

test('hits that are too far apart do not open it', () => {
  const breaker = new Breaker(3, 100);
  for (let at = 0; at < 1000; at += 50) expect(breaker.hit(at)).toBe(false);
  expect(breaker.isOpen).toBe(false);
});
