import { expect, test } from 'bun:test';
import { fuzzRound } from './ingest.ts';

const ROUNDS = 60;
/** How long it goes on with seeds that no run before had; `npm run fuzz` takes longer. */
const UNTRIED_MS = 15_000;

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

test('some hundred rounds of seeds that were never tried find nothing', () => {
  const end = Date.now() + UNTRIED_MS;
  for (let seed = Date.now() % 1e9; Date.now() < end; seed++) {
    try {
      fuzzRound(seed);
    } catch (cause) {
      throw new Error(`npm run fuzz -- --seconds 0 --seed ${seed}`, { cause });
    }
  }
}, 60_000);
