import { expect, test } from 'bun:test';
import { Arena } from '../../src/stack/arena.ts';
import { type Instant, NEVER } from '../../src/stack/time.ts';
import { TimerWheel } from '../../src/stack/timer-wheel.ts';

const START = 1_000_000_000 as Instant;
const at = (ms: number) => (START + ms * 1000) as Instant;

function wheel(now = START): TimerWheel {
  return new TimerWheel(new Arena(new ArrayBuffer(TimerWheel.bytes(16))), 16, now);
}

/** Items that come up until `now`, in order. */
function due(timers: TimerWheel, now: Instant): number[] {
  const items: number[] = [];
  timers.expire(now, (item) => items.push(item));
  return items;
}

test('an empty wheel has no deadline', () => {
  const timers = wheel();
  expect(timers.nextDeadline()).toBe(NEVER);
  expect(due(timers, at(1000))).toEqual([]);
});

test('an item comes up once, at its deadline or up to 4 ms later, and not before', () => {
  const timers = wheel();
  timers.schedule(3, at(10));
  expect(timers.nextDeadline()).toBeGreaterThanOrEqual(at(10));
  expect(timers.nextDeadline()).toBeLessThan(at(14));
  expect(due(timers, at(9))).toEqual([]);
  expect(due(timers, at(14))).toEqual([3]);
  expect(due(timers, at(100))).toEqual([]);
  expect(timers.nextDeadline()).toBe(NEVER);
});

test('a wheel with ticks of a millisecond is that much more exact, and spans a quarter', () => {
  const arena = new Arena(new ArrayBuffer(TimerWheel.bytes(16)));
  const timers = new TimerWheel(arena, 16, START, 1000);
  timers.schedule(3, (START + 2300) as Instant);
  expect(timers.nextDeadline()).toBe(at(3));
  expect(due(timers, at(2))).toEqual([]);
  expect(due(timers, at(3))).toEqual([3]);
  timers.schedule(1, at(60_000));
  expect(timers.nextDeadline()).toBeLessThan(at(4200));
});

test('a deadline in the past comes up with the next tick', () => {
  const timers = wheel();
  timers.schedule(1, at(-500));
  expect(due(timers, at(4))).toEqual([1]);
});

test('an earlier deadline replaces a later one, a later one waits for the first', () => {
  const timers = wheel();
  timers.schedule(1, at(1000));
  timers.schedule(1, at(100));
  timers.schedule(1, at(5000));
  expect(due(timers, at(104))).toEqual([1]);
  expect(due(timers, at(10_000))).toEqual([]);
});

test('NEVER is not scheduled', () => {
  const timers = wheel();
  timers.schedule(1, NEVER);
  expect(timers.nextDeadline()).toBe(NEVER);
});

test('a cancelled item does not come up, its neighbours in the slot do', () => {
  for (const cancelled of [1, 2, 3]) {
    const timers = wheel();
    for (const item of [1, 2, 3]) timers.schedule(item, at(8));
    timers.cancel(cancelled);
    timers.cancel(cancelled);
    expect(due(timers, at(20)).sort()).toEqual([1, 2, 3].filter((item) => item !== cancelled));
  }
});

test('a deadline beyond the span comes up early, to be scheduled again', () => {
  const timers = wheel();
  timers.schedule(1, at(60_000));
  expect(timers.nextDeadline()).toBeLessThan(at(16_500));
  expect(timers.nextDeadline()).toBeGreaterThan(at(16_000));
  let rounds = 0;
  for (let now = 0; now <= 60_004; now += 4) {
    timers.expire(at(now), (item) => {
      rounds += 1;
      if (now < 60_000) timers.schedule(item, at(60_000));
    });
  }
  expect(rounds).toBe(4);
  expect(timers.nextDeadline()).toBe(NEVER);
});

test('items may be scheduled and cancelled while others come up', () => {
  const timers = wheel();
  for (const item of [1, 2, 3]) timers.schedule(item, at(8));
  const seen: number[] = [];
  timers.expire(at(12), (item) => {
    seen.push(item);
    timers.cancel(2);
    timers.schedule(item, at(20));
  });
  expect(seen).not.toContain(2);
  expect(due(timers, at(24)).sort()).toEqual([1, 3]);
});

test('time that jumps far ahead brings everything up, once', () => {
  const timers = wheel();
  for (let item = 0; item < 16; item++) timers.schedule(item, at(1 + item * 1000));
  expect(due(timers, at(10_000_000)).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 16 }, (_, item) => item),
  );
});
