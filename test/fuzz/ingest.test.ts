import { expect, test } from 'bun:test';
import { fuzzRound } from './ingest.ts';

const ROUNDS = 60;

test('any bytes are a counted drop, and a flow beside them works on', () => {
  const reasons = new Set<string>();
  let flows = 0;
  for (let seed = 0; seed < ROUNDS; seed++) {
    const round = fuzzRound(seed);
    flows += round.flows;
    for (const reason of Object.keys(round.drops)) reasons.add(reason);
  }
  // The frames reach deep: most checks have refused some of them, and many opened a flow.
  expect(reasons.size).toBeGreaterThan(20);
  expect(flows).toBeGreaterThan(ROUNDS * 5);
}, 60_000);
