/** A scenario from a seed: the whole of it, so that a seed that fails can be run again. */
import type { Instant } from '../../src/stack/time.ts';
import { type LaneShape, randomShares } from '../support/lane.ts';
import { CLOCK_START } from '../support/manual-clock.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';
import type { Scenario, Talk } from './conversation.ts';

/** So many that a wrong carry shows: near the ends of the numbers, and of their signed half. */
const INITIAL_SEQUENCE_NUMBERS = [1, 0x7fff_f000, 0xffff_f000];
/** By the number of the seed, so that the rest of a scenario does not depend on it. */
const CONTROLS = ['cubic', 'bbr', 'cubic', 'newreno', 'bbr'] as const;
const MEGABIT = 1e6;
const KEEPALIVE_US = 20_000_000;

export function scenarioOf(seed: number): Scenario {
  const random = randomShares(seed);
  const pick = <T>(...choices: readonly T[]): T => choices[Math.floor(random() * choices.length)]!;
  const lane = (): LaneShape => ({
    bitsPerSecond: pick(1, 10, 100, 1000) * MEGABIT,
    delayUs: pick(10, 1000, 20_000, 100_000),
    queueBytes: pick(10, 100, 1000) * 1500,
    loss: pick(0, 0, 0.001, 0.01, 0.05, 0.1),
    duplicate: pick(0, 0, 0.01, 0.2),
    late: pick(0, 0, 0.01, 0.2),
    lateByUs: pick(200, 5000, 50_000),
    corrupt: pick(0, 0, 0.01, 0.05),
  });
  const [up, down] = [lane(), lane()];
  const family = pick(4 as const, 6 as const);
  const count = pick(1, 1, 2, 4);
  // Long streams over a slow or bad link take long to simulate and tell nothing new.
  const longest = pick(0, 3000, 60_000, 300_000) / count;
  const talk = (_: unknown, index: number): Talk => ({
    source: family === 4 ? '198.18.0.1' : 'fd00::1',
    destination: family === 4 ? '198.18.0.80' : 'fd00::80',
    sourcePort: 40_000 + index,
    destinationPort: 443,
    iss: pick(...INITIAL_SEQUENCE_NUMBERS),
    mss: pick(100, 536, 1220, 1460),
    // A stream that goes one way gets no help from the other's segments.
    length: Math.floor(random() * pick(longest, longest, 0)),
    buffer: pick(2000, 20_000, 300_000),
    timestamps: pick(true, false),
    sack: pick(true, true, false),
    windowScale: pick(-1, 0, 4, 7),
    serverLength: Math.floor(random() * pick(longest, longest, 0)),
    startUs: Math.floor(random() * pick(0, 1000, 100_000)),
    abort: pick(undefined, undefined, undefined, {
      by: pick('client', 'server'),
      atUs: Math.floor(random() * pick(1e5, 1e6, 1e7)),
    }),
  });
  const drawn = Array.from({ length: count }, talk);
  const start = (CLOCK_START + Math.floor(random() * 2 ** 34)) as Instant;
  const scenario = {
    seed,
    rig: {
      family,
      capabilities: pick(FULL_OFFLOAD, NO_OFFLOAD),
      limits: { slabBytes: pick(128, 512, 4096) * 1024 },
      settings: {
        slabBytesPerFlow: pick(20_000, 150_000, 2_000_000),
        // How the stack learns of a client that is gone, when nothing is in flight. Without
        // need it would hide a persist timer that does not run.
        keepaliveUs: drawn.some(({ abort }) => abort !== undefined) ? KEEPALIVE_US : 0,
        congestion: CONTROLS[seed % CONTROLS.length]!,
      },
      // The stack's own numbers wrap in every other scenario, after a few segments.
      ...(pick(true, false) ? { start } : { stackIss: pick(...INITIAL_SEQUENCE_NUMBERS) }),
    },
    up,
    down,
    ownerPace: pick(700, 20_000, 10_000_000),
    clientPace: pick(700, 20_000, 10_000_000),
    serverWaitsForFin: pick(true, false),
    batchUs: pick(0, 0, 300, 3000),
    refusing: pick(0, 0, 0, 0.1),
  };
  // Drawn last, so that all else of a seed is as it was before the stack could dial.
  const talks = drawn.map((one) => ({
    ...one,
    opener: pick('client' as const, 'client' as const, 'stack' as const, 'both' as const),
  }));
  return { ...scenario, talks };
}
