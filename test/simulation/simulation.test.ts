/** Whatever a link does, every byte arrives in order, both ways, and nothing is left behind. */
import { expect, test } from 'bun:test';
import { converse } from './conversation.ts';
import { scenarioOf } from './scenario.ts';

const SEEDS = 300;

test(`every byte arrives and nothing is left, with ${SEEDS} seeds`, () => {
  const sum = { lost: 0, duplicated: 0, late: 0, corrupted: 0, overflowed: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { up, down } = converse(scenarioOf(seed));
    for (const fault of Object.keys(sum) as (keyof typeof sum)[]) {
      sum[fault] += up.counts[fault] + down.counts[fault];
    }
  }
  // The links did what they are here for.
  for (const count of Object.values(sum)) expect(count).toBeGreaterThan(100);
}, 120_000);
