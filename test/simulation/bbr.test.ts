/** What BBR does to a path over many seconds, and to those who share it. */
import { expect, test } from 'bun:test';
import { CLEAN, type LaneShape } from '../support/lane.ts';
import { converse, type Talk } from './conversation.ts';

const BITS_PER_SECOND = 10e6;
const ROUND_TRIP_MS = 40;
/** What the path holds without a queue. */
const PIPE_BYTES = (BITS_PER_SECOND * ROUND_TRIP_MS) / 8000;
const LINE = (BITS_PER_SECOND * 1448) / 1500;

const talk = (index: number, bytes: number, about: Partial<Talk> = {}): Talk => ({
  source: '198.18.0.1',
  destination: '198.18.0.80',
  sourcePort: 40_000 + index,
  destinationPort: 443,
  iss: 1_000_000,
  mss: 1460,
  length: 0,
  buffer: 4 * 2 ** 20,
  timestamps: true,
  sack: true,
  windowScale: 7,
  serverLength: bytes,
  startUs: 0,
  ...about,
});

interface Share {
  /** Of the line, until its download ends; one for each talk. */
  readonly shares: number[];
  /** The same until the first of the downloads ends. */
  readonly together: number[];
  /** Of all packets: those for which the queue had no room. */
  readonly overflowed: number;
}

/** Downloads over one link, whose queue holds `pipes` times what the path does. */
function download(talks: Talk[], pipes: number, loss = 0): Share {
  const up: LaneShape = {
    ...CLEAN,
    bitsPerSecond: BITS_PER_SECOND,
    delayUs: ROUND_TRIP_MS * 500,
    queueBytes: pipes * PIPE_BYTES,
  };
  const all = Number.MAX_SAFE_INTEGER / 2 ** 20;
  const outcome = converse({
    seed: 1,
    rig: {
      limits: { slabBytes: 32 * 2 ** 20, slabBytesPerFlow: 4 * 2 ** 20 },
      settings: { congestion: 'bbr' },
    },
    up,
    down: { ...up, loss },
    talks,
    ownerPace: all,
    clientPace: all,
    serverWaitsForFin: true,
    batchUs: 0,
    refusing: 0,
  });
  const { overflowed, packets } = outcome.down.counts;
  return {
    shares: outcome.talks.map(({ downUs }, i) => (talks[i]!.serverLength * 8e6) / downUs / LINE),
    together: outcome.talks.map(({ atFirstEnd: { bytes, us } }) => (bytes * 8e6) / us / LINE),
    overflowed: overflowed / packets,
  };
}

// Twenty seconds: PROBE_RTT comes once.
test('a download fills the line for many seconds, and overflows no queue but a small one', () => {
  const deep = download([talk(0, 25_000_000)], 4);
  expect(deep.shares[0]).toBeGreaterThan(0.97);
  expect(deep.overflowed).toBe(0);
  const shallow = download([talk(0, 10_000_000)], 0.25);
  expect(shallow.shares[0]).toBeGreaterThan(0.93);
  expect(shallow.overflowed).toBeLessThan(0.05);
});

test('losses at random cost little more than themselves, and not more and more', () => {
  expect(download([talk(0, 12_000_000)], 1, 0.01).shares[0]).toBeGreaterThan(0.93);
  expect(download([talk(0, 12_000_000)], 1, 0.05).shares[0]).toBeGreaterThan(0.85);
});

test('two downloads share the line', () => {
  for (const pipes of [0.5, 1, 4]) {
    const { shares } = download([talk(0, 6_000_000), talk(1, 6_000_000)], pipes);
    expect(Math.max(...shares) / Math.min(...shares)).toBeLessThan(1.5);
  }
});

test('NewReno beside it is not starved', () => {
  for (const pipes of [1, 4, 10]) {
    const { shares } = download([talk(0, 6_000_000), talk(1, 6_000_000, { sack: false })], pipes);
    expect(shares[0]).toBeLessThan(0.8);
    expect(shares[1]).toBeGreaterThan(0.3);
  }
});

// Which of them has more is a matter of the queue: BBR where it is short, as CUBIC takes each loss
// for congestion; CUBIC where it is long, as BBR keeps no more than two pipes in flight.
for (const [pipes, least] of [
  [1, 0.15],
  [4, 0.15],
  [10, 0.1],
] as const) {
  test(`CUBIC and BBR share a line with a queue of ${pipes}: ${least * 100} % at least`, () => {
    for (const [bbrUs, cubicUs] of [
      [0, 0],
      [10_000, 0],
      [3_000_000, 0],
      [0, 3_000_000],
    ] as const) {
      const bbr = talk(0, 12_000_000, { startUs: bbrUs });
      const cubic = talk(1, 12_000_000, { startUs: cubicUs, congestion: 'cubic' });
      const { together } = download([bbr, cubic], pipes);
      expect(Math.min(...together)).toBeGreaterThan(least);
      expect(together[0]! + together[1]!).toBeGreaterThan(0.95);
    }
  });
}
