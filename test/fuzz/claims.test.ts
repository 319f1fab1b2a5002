import { expect, test } from 'bun:test';
import { claimsRound } from './claims.ts';

const ROUNDS = 8;

test('a script host that says anything harms nobody but its own connections', async () => {
  let opened = 0;
  let refused = 0;
  for (let seed = 0; seed < ROUNDS; seed++) {
    try {
      const round = await claimsRound(seed);
      opened += round.opened;
      refused += round.refused;
    } catch (cause) {
      throw new Error(`claimsRound(${seed})`, { cause });
    }
  }
  // It comes far enough to be refused, and new connections begin beside it.
  expect(refused).toBeGreaterThan(ROUNDS);
  expect(opened).toBeGreaterThan(ROUNDS);
}, 120_000);
