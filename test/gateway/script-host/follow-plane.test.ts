/** When the script host runs beside its data plane. */
import { expect, test } from 'bun:test';
import { type Affinity, ANY_PROCESSOR } from '../../../src/ffi/scheduling.ts';
import { FollowPlane } from '../../../src/gateway/script-host/follow-plane.ts';

const PERIOD_US = 20_000;
const THERE = 5;

function setUp() {
  const thread = { processor: ANY_PROCESSOR };
  const stayOn = (processor: number) => {
    thread.processor = processor;
  };
  const place = new FollowPlane({ stayOn } as unknown as Affinity, 0);
  let now = 0;
  /** Two halves of a period, so much of which is slept. @returns where the host is then */
  const period = (idle: number, processor = THERE) => {
    for (let half = 0; half < 2; half++) {
      now += PERIOD_US / 2;
      place.woke(now, (idle * PERIOD_US) / 2);
      place.follow(processor);
    }
    return thread.processor;
  };
  return { period };
}

test('a host with little to do runs where its data plane is, while that wants it', () => {
  const { period } = setUp();
  expect(period(0.9)).toBe(THERE);
  expect(period(0.9, ANY_PROCESSOR)).toBe(ANY_PROCESSOR);
});

test('a host that is busy leaves the processor to the data plane', () => {
  const { period } = setUp();
  expect(period(0.5)).toBe(ANY_PROCESSOR);
  expect(period(0.9)).toBe(THERE);
  expect(period(0.5)).toBe(ANY_PROCESSOR);
});
