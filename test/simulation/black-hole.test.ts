/** Transfers through a link that swallows long packets and sends no ICMP error. */
import { expect, test } from 'bun:test';
import { Counter } from '../../src/stack/counters.ts';
import { CLEAN, type LaneShape } from '../support/lane.ts';
import { converse, type Outcome, type Talk } from './conversation.ts';

const BYTES = 400_000;
const ALL = Number.MAX_SAFE_INTEGER / 2 ** 20;
const LANE: LaneShape = { ...CLEAN, bitsPerSecond: 20e6, delayUs: 10_000, queueBytes: 150_000 };

interface Path {
  readonly family: 4 | 6;
  readonly sack: boolean;
  /** Of both lanes, and of the lane down. */
  readonly lane?: Partial<LaneShape>;
  readonly down: Partial<LaneShape>;
  readonly bytes?: number;
  readonly again?: { readonly afterUs: number };
}

/** A download beside a short upload; with `again`, a second one of the same client, later. */
function transfer(path: Path, seed: number): Outcome {
  const { family, sack, again } = path;
  const lane = { ...LANE, ...path.lane };
  const isIpv4 = family === 4;
  const talk: Talk = {
    source: isIpv4 ? '198.18.0.1' : 'fd00::1',
    destination: isIpv4 ? '198.18.0.80' : 'fd00::80',
    sourcePort: 40_000,
    destinationPort: 443,
    iss: 1,
    mss: isIpv4 ? 1460 : 1440,
    length: 20_000,
    buffer: 300_000,
    timestamps: true,
    sack,
    windowScale: 7,
    serverLength: path.bytes ?? BYTES,
    startUs: 0,
  };
  const later = { ...talk, sourcePort: 40_001, startUs: again?.afterUs ?? 0 };
  return converse({
    seed,
    rig: { family },
    up: lane,
    down: { ...lane, ...path.down },
    talks: again === undefined ? [talk] : [talk, later],
    ownerPace: ALL,
    clientPace: ALL,
    serverWaitsForFin: false,
    batchUs: 0,
    refusing: 0,
  });
}

for (const sack of [true, false]) {
  for (const [family, longestBytes, mostSeconds] of [
    // The line takes 0.2 s; timeouts take the rest, three, and two for a further step.
    [4, 1400, 3],
    [4, 1100, 3],
    [4, 600, 8],
    [6, 1400, 3],
    [6, 1280, 3],
  ] as const) {
    const title = sack ? 'SACK' : 'no SACK';
    test(`IPv${family}: packets above ${longestBytes} vanish, all bytes arrive (${title})`, () => {
      const { rig, talks } = transfer({ family, sack, down: { longestBytes } }, 1);
      expect(rig.counters.get(Counter.BLACK_HOLES_SUSPECTED)).toBeGreaterThan(0);
      expect(talks[0]!.downUs / 1e6).toBeLessThan(mostSeconds);
    });
  }

  test(`what one flow found out, the next need not (${sack ? 'SACK' : 'no SACK'})`, () => {
    const again = { afterUs: 20e6 };
    const { rig, talks } = transfer({ family: 4, sack, down: { longestBytes: 1100 }, again }, 1);
    expect(rig.counters.get(Counter.BLACK_HOLES_SUSPECTED)).toBe(1);
    expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(3);
    expect(talks[1]!.downUs / 1e6).toBeLessThan(0.6);
  });

  test(`one packet in ten lost at random is hardly ever taken for a hole (${sack})`, () => {
    let [suspected, packets] = [0, 0];
    for (let seed = 1; seed <= 40; seed++) {
      const { rig, down } = transfer({ family: 4, sack, down: { loss: 0.1 } }, seed);
      suspected += rig.counters.get(Counter.BLACK_HOLES_SUSPECTED);
      packets += down.counts.packets;
    }
    expect(suspected).toBeLessThan(4);
    // 277 full packets each, and what is lost; without detection they were 13,945.
    expect(packets / 40).toBeLessThan(360);
  });
}

test('a link that was silent for two seconds is no hole: packets are full again', () => {
  const bytes = 20_000_000;
  const silence = { fromUs: 500_000, untilUs: 2_500_000 };
  const lane = { bitsPerSecond: 10e6, delayUs: 50_000, queueBytes: 250_000 };
  const { rig, down } = transfer({ family: 4, sack: true, lane, down: { silence }, bytes }, 1);
  expect(rig.counters.get(Counter.BLACK_HOLES_SUSPECTED)).toBe(1);
  // A third more where the flow never finds room for a probe.
  expect(down.counts.packets).toBeLessThan((1.05 * bytes) / 1448);
});
