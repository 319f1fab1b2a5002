/** Whatever a link does, every byte arrives in order, both ways, and nothing is left behind. */
import { expect, test } from 'bun:test';
import { CLEAN } from '../support/lane.ts';
import { converse } from './conversation.ts';
import { scenarioOf } from './scenario.ts';

/** `npm run simulate` takes thousands. */
const SEEDS = 150;

test(`every byte arrives and nothing is left, with ${SEEDS} seeds`, () => {
  const sum = { lost: 0, duplicated: 0, late: 0, corrupted: 0, overflowed: 0 };
  const openers = { client: 0, stack: 0, both: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const scenario = scenarioOf(seed);
    const { up, down } = converse(scenario);
    for (const { opener = 'client' } of scenario.talks) openers[opener] += 1;
    for (const fault of Object.keys(sum) as (keyof typeof sum)[]) {
      sum[fault] += up.counts[fault] + down.counts[fault];
    }
  }
  // The links did what they are here for.
  for (const count of Object.values(sum)) expect(count).toBeGreaterThan(50);
  for (const count of Object.values(openers)) expect(count).toBeGreaterThan(50);
}, 120_000);

test('a window that opens unheard is asked for', () => {
  const down = { ...CLEAN, bitsPerSecond: 100e6, delayUs: 1000, queueBytes: 1e6 };
  for (let seed = 1; seed <= 20; seed++) {
    converse({
      seed,
      rig: {},
      // Nothing but the updates of a small window goes up, and one in ten is lost.
      up: { ...down, loss: 0.1 },
      down,
      talks: [
        {
          source: '198.18.0.1',
          destination: '198.18.0.80',
          sourcePort: 40_000,
          destinationPort: 443,
          iss: 1,
          mss: 100,
          length: 0,
          buffer: 2000,
          timestamps: false,
          sack: false,
          windowScale: 4,
          serverLength: 60_000,
          startUs: 0,
        },
      ],
      ownerPace: 1e7,
      clientPace: 1e7,
      serverWaitsForFin: false,
      batchUs: 0,
      refusing: 0,
    });
  }
});
