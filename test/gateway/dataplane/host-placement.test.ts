/** When the data plane and the script host share a processor. */
import { expect, test } from 'bun:test';
import { type Affinity, ANY_PROCESSOR } from '../../../src/ffi/scheduling.ts';
import { HostPlacement } from '../../../src/gateway/dataplane/host-placement.ts';
import type { Instant } from '../../../src/stack/time.ts';

const PERIOD_US = 20_000;
const HERE = 5;

/** A thread that runs on one processor, and says where it was told to stay. */
class Thread implements Pick<Affinity, 'processor' | 'stayHere' | 'stayOn'> {
  processor = ANY_PROCESSOR;
  stayHere(): number {
    this.processor = HERE;
    return HERE;
  }
  stayOn(processor: number): void {
    this.processor = processor;
  }
}

function setUp() {
  const thread = new Thread();
  const placement = new HostPlacement(thread as unknown as Affinity, 0 as Instant);
  let now = 0;
  /** One period in which so much of the time is slept, and so many questions are answered. */
  const period = (idle: number, asked = 1, answered = asked) => {
    let told = ANY_PROCESSOR;
    for (let i = 0; i < answered; i++) {
      told = placement.ask();
      placement.answered();
    }
    for (let i = answered; i < asked; i++) told = placement.ask();
    now += PERIOD_US;
    placement.woke(now as Instant, idle * PERIOD_US);
    return told;
  };
  return { thread, period };
}

test('with little to do and answers that come they stay, and the host is told where', () => {
  const { thread, period } = setUp();
  expect(period(0.9)).toBe(ANY_PROCESSOR);
  expect(thread.processor).toBe(HERE);
  expect(period(0.9)).toBe(HERE);
});

test('without questions there is no reason to stay', () => {
  const { thread, period } = setUp();
  period(1, 0);
  expect(thread.processor).toBe(ANY_PROCESSOR);
});

test('a data plane that is busy leaves, and comes back only when it is clearly less so', () => {
  const { thread, period } = setUp();
  period(0.5);
  expect(thread.processor).toBe(ANY_PROCESSOR);
  period(0.65);
  expect(thread.processor).toBe(HERE);
  period(0.5);
  expect(thread.processor).toBe(HERE);
  period(0.4);
  expect(thread.processor).toBe(ANY_PROCESSOR);
});

test('a host that does not answer is left alone, until it does', () => {
  const { thread, period } = setUp();
  period(0.9);
  period(0.9, 3, 0);
  expect(thread.processor).toBe(ANY_PROCESSOR);
  period(0.9, 3, 0);
  expect(thread.processor).toBe(ANY_PROCESSOR);
  period(0.9, 3, 1);
  expect(thread.processor).toBe(HERE);
});

test('nor is it trusted because it has answered what was asked before', () => {
  const { thread, period } = setUp();
  period(0.9);
  period(0.9, 5, 4);
  expect(thread.processor).toBe(HERE);
  period(0.9, 0);
  expect(thread.processor).toBe(ANY_PROCESSOR);
});

test('from time to time the kernel chooses anew', () => {
  const { thread, period } = setUp();
  const seen: number[] = [];
  for (let i = 0; i < 200; i++) {
    period(0.9);
    seen.push(thread.processor);
  }
  const away = seen.filter((processor) => processor === ANY_PROCESSOR).length;
  expect(away).toBeGreaterThan(2);
  expect(away).toBeLessThan(10);
});
