import { expect, test } from 'bun:test';
import { CLEAN, Lane, type LaneShape, randomShares } from './lane.ts';

/** 12,000 bits are 1.2 ms at 10 Mbit/s. */
const SHAPE: LaneShape = {
  ...CLEAN,
  bitsPerSecond: 10e6,
  delayUs: 5000,
  queueBytes: 4500,
};

test('a packet needs its time on the wire and the delay, and waits for the one before', () => {
  const lane = new Lane(SHAPE, 1);
  lane.admit(1000, 1500);
  expect([lane.copies, lane.dueUs]).toEqual([1, 1000 + 1200 + 5000]);
  lane.admit(1000, 1500);
  expect(lane.dueUs).toBe(1000 + 2400 + 5000);
  lane.admit(9000, 1500);
  expect(lane.dueUs).toBe(9000 + 1200 + 5000);
});

test('what does not fit into the queue is dropped, and takes no time on the wire', () => {
  const lane = new Lane(SHAPE, 1);
  const copies = [1, 2, 3, 4].map(() => {
    lane.admit(0, 1500);
    return lane.copies;
  });
  expect(copies).toEqual([1, 1, 1, 0]);
  expect(lane.counts.overflowed).toBe(1);
  lane.admit(1200, 1500);
  expect(lane.dueUs).toBe(4 * 1200 + 5000);
});

test('faults come as often as their shares say', () => {
  const faults = { loss: 0.1, duplicate: 0.2, late: 0.3, lateByUs: 100, corrupt: 0.4 };
  const lane = new Lane({ ...SHAPE, ...faults, queueBytes: 1e9 }, 7);
  for (let i = 0; i < 10_000; i++) {
    lane.admit(0, 100);
    if (lane.copies > 0) expect(lane.corruptBit).toBeLessThan(800);
  }
  const { lost, duplicated, late, corrupted } = lane.counts;
  const arrived = 10_000 - lost;
  expect(lost / 10_000).toBeCloseTo(0.1, 1);
  expect(duplicated / arrived).toBeCloseTo(0.2, 1);
  expect(late / arrived).toBeCloseTo(0.3, 1);
  expect(corrupted / arrived).toBeCloseTo(0.4, 1);
});

test('the fate of a packet depends on the seed and its place, not on its size or time', () => {
  const fates = (seed: number, bytes: number) => {
    const lane = new Lane({ ...SHAPE, loss: 0.5, queueBytes: 1e9 }, seed);
    return Array.from({ length: 64 }, (_, i) => {
      lane.admit(i * bytes, bytes);
      return lane.copies;
    }).join('');
  };
  expect(fates(3, 40)).toBe(fates(3, 1500));
  expect(fates(3, 40)).not.toBe(fates(4, 40));
});

test('neighbouring seeds begin apart', () => {
  const firsts = Array.from({ length: 100 }, (_, seed) => randomShares(seed)());
  expect(firsts.filter((share) => share < 0.5).length).toBeWithin(30, 71);
});
