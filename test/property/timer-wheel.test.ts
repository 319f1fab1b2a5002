/** The timer wheel against a map of deadlines. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Arena } from '../../src/stack/arena.ts';
import { type Instant, NEVER } from '../../src/stack/time.ts';
import { TimerWheel } from '../../src/stack/timer-wheel.ts';

const ITEMS = 12;
const START = 5_000_000;
const TICK_US = 4000;

const anyStep = fc.oneof(
  fc.record({ item: fc.nat(ITEMS - 1), inUs: fc.integer({ min: -5000, max: 40_000_000 }) }),
  fc.record({ item: fc.nat(ITEMS - 1), inUs: fc.integer({ min: 0, max: 20_000 }) }),
  fc.record({ cancel: fc.nat(ITEMS - 1) }),
  fc.record({ passUs: fc.constantFrom(0, 1000, 4000, 60_000, 5_000_000, 100_000_000) }),
);

/**
 * Scheduled as the stack does: an item that comes up before its deadline is scheduled again. Then
 * no deadline is missed by more than a tick, and none is met early.
 */
test('every deadline is met within one tick, and only the newest of each item', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 200 }), (steps) => {
      const timers = new TimerWheel(
        new Arena(new ArrayBuffer(TimerWheel.bytes(ITEMS))),
        ITEMS,
        START as Instant,
      );
      const deadlines = new Map<number, number>();
      let now = START;
      for (const step of steps) {
        if ('item' in step) {
          deadlines.set(step.item, now + step.inUs);
          timers.schedule(step.item, (now + step.inUs) as Instant);
        } else if ('cancel' in step) {
          deadlines.delete(step.cancel);
          timers.cancel(step.cancel);
        } else {
          now += step.passUs;
          timers.expire(now as Instant, (item) => {
            const deadline = deadlines.get(item);
            if (deadline === undefined) throw new Error(`${item} was cancelled`);
            if (deadline > now) timers.schedule(item, deadline as Instant);
            else deadlines.delete(item);
          });
          for (const deadline of deadlines.values()) {
            expect(deadline).toBeGreaterThan(now - TICK_US - 5000);
          }
        }
        const next = Math.min(Number.POSITIVE_INFINITY, ...deadlines.values());
        if (deadlines.size === 0) expect(timers.nextDeadline()).toBe(NEVER);
        else expect(timers.nextDeadline()).toBeLessThan(Math.max(next, now) + 2 * TICK_US);
      }
    }),
    { numRuns: 300, includeErrorInReport: true },
  );
});
