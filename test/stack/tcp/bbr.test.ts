/** BBR's model and its states, a round trip at a time; whole transfers are in test/simulation. */
import { describe, expect, test } from 'bun:test';
import { BbrMode, restartBbr } from '../../../src/stack/tcp/bbr.ts';
import type { Instant } from '../../../src/stack/time.ts';
import { BBR_MSS, BbrFlow, ROUND_TRIP_US } from '../../support/bbr-flow.ts';

/** Bytes per second: 10 Mbit/s, of which a path of 40 ms holds 50 packets. */
const LINE = 1_250_000;
const PIPE = BbrFlow.pipe(LINE);
/** What the window has room for beside the pipe: three quanta of two packets. */
const QUANTA = 3 * 2 * BBR_MSS;
const SECOND_ROUNDS = 1e6 / ROUND_TRIP_US;

/** A flow that has found the line, in PROBE_BW. */
function steady(): BbrFlow {
  const flow = new BbrFlow();
  flow.rounds(4, { bandwidth: LINE });
  flow.round({ bandwidth: LINE, inFlight: PIPE });
  expect(flow.bbr.mode).toBe(BbrMode.PROBE_BW);
  return flow;
}

/** Goes on to the phase that sends more than the line. */
function probingUp(): BbrFlow {
  const flow = steady();
  while (flow.bbr.phase !== 0) flow.round({ bandwidth: LINE, inFlight: PIPE });
  return flow;
}

describe('STARTUP', () => {
  test('doubles the rate each round trip, as long as the path delivers more', () => {
    const flow = new BbrFlow();
    for (const bandwidth of [100_000, 200_000, 400_000, 800_000]) {
      flow.round({ bandwidth });
      expect(flow.bbr.mode).toBe(BbrMode.STARTUP);
      expect(flow.gain(bandwidth)).toBe(2.77);
    }
  });

  test('ends when three round trips did not bring a quarter more', () => {
    const flow = new BbrFlow();
    flow.round({ bandwidth: LINE });
    flow.rounds(2, { bandwidth: 1.24 * LINE });
    expect(flow.bbr.mode).toBe(BbrMode.STARTUP);
    flow.round({ bandwidth: 1.24 * LINE });
    expect(flow.bbr.mode).toBe(BbrMode.DRAIN);
    expect(flow.gain(1.24 * LINE)).toBe(0.5);
  });

  test('goes on when the path brought a quarter more in the third', () => {
    const flow = new BbrFlow();
    flow.rounds(3, { bandwidth: LINE });
    flow.rounds(3, { bandwidth: 1.26 * LINE });
    expect(flow.bbr.mode).toBe(BbrMode.STARTUP);
  });

  test('does not end because the owner had little to send', () => {
    const flow = new BbrFlow();
    flow.round({ bandwidth: LINE });
    flow.rounds(10, { bandwidth: LINE / 2, isAppLimited: true });
    expect(flow.bbr.mode).toBe(BbrMode.STARTUP);
  });

  test('ends when six acknowledgments of a round told of losses, of more than a fiftieth', () => {
    for (const [lossEvents, share, mode] of [
      [6, 0.03, BbrMode.DRAIN],
      [5, 0.03, BbrMode.STARTUP],
      [6, 0.015, BbrMode.STARTUP],
    ] as const) {
      const flow = new BbrFlow();
      flow.round({ bandwidth: LINE / 2 });
      flow.round({ bandwidth: LINE, lost: share * PIPE, lossEvents, inFlight: 3 * PIPE });
      expect(flow.bbr.mode).toBe(mode);
    }
  });

  test('does not slow down while it lasts', () => {
    const flow = new BbrFlow();
    flow.round({ bandwidth: LINE });
    const rate = flow.bbr.pacingRate;
    flow.round({ bandwidth: LINE / 2 });
    expect(flow.bbr.pacingRate).toBe(rate);
  });
});

describe('DRAIN', () => {
  test('lasts until what is in flight is what the path holds', () => {
    const flow = new BbrFlow();
    flow.rounds(4, { bandwidth: LINE });
    flow.round({ bandwidth: LINE, inFlight: PIPE + QUANTA + 1 });
    expect(flow.bbr.mode).toBe(BbrMode.DRAIN);
    flow.round({ bandwidth: LINE, inFlight: PIPE + QUANTA });
    expect(flow.bbr.mode).toBe(BbrMode.PROBE_BW);
  });
});

describe('PROBE_BW', () => {
  test('sends a quarter more for a round trip, a quarter less for one, and six at the line', () => {
    const flow = probingUp();
    const gains: number[] = [];
    for (let i = 0; i < 9; i++) {
      gains.push(flow.gain(LINE));
      flow.round({ bandwidth: LINE, inFlight: 1.25 * PIPE + QUANTA, roundTripUs: 40_001 });
    }
    expect(gains).toEqual([1.25, 0.75, 1, 1, 1, 1, 1, 1, 1.25]);
  });

  test('goes on to send more until that much more is in flight, or something is lost', () => {
    const flow = probingUp();
    flow.rounds(3, { bandwidth: LINE, inFlight: PIPE, roundTripUs: 40_001 });
    expect(flow.gain(LINE)).toBe(1.25);
    flow.round({ bandwidth: LINE, inFlight: PIPE, lost: 1, roundTripUs: 40_001 });
    expect(flow.gain(LINE)).toBe(0.75);
  });

  test('the window is twice what the path holds, and room for quanta', () => {
    const flow = steady();
    flow.rounds(4, { bandwidth: LINE, inFlight: PIPE });
    expect(Math.abs(flow.tcb.cwnd - (2 * PIPE + QUANTA))).toBeLessThanOrEqual(1);
  });

  test('a path that became faster is found, one that became slower believed in ten rounds', () => {
    const flow = steady();
    flow.round({ bandwidth: 1.2 * LINE });
    expect(flow.bbr.bandwidth).toBeCloseTo(1.2 * LINE, -1);
    flow.rounds(8, { bandwidth: LINE / 2 });
    expect(flow.bbr.bandwidth).toBeCloseTo(1.2 * LINE, -1);
    flow.rounds(2, { bandwidth: LINE / 2 });
    expect(flow.bbr.bandwidth).toBeCloseTo(LINE / 2, -1);
  });

  test('what an owner with little to send measures counts only when it is more', () => {
    const flow = steady();
    flow.rounds(30, { bandwidth: LINE / 3, isAppLimited: true });
    expect(flow.bbr.bandwidth).toBeCloseTo(LINE, -1);
    flow.round({ bandwidth: 2 * LINE, isAppLimited: true });
    expect(flow.bbr.bandwidth).toBeCloseTo(2 * LINE, -1);
  });
});

describe('losses in PROBE_BW', () => {
  test('of less than a fiftieth change nothing but the window of the moment', () => {
    const flow = steady();
    flow.rounds(20, { bandwidth: LINE, lost: 0.019 * PIPE, inFlight: PIPE });
    expect(flow.bbr.inflightHigh).toBe(0);
    expect(flow.tcb.cwnd).toBeGreaterThan(1.9 * PIPE);
  });

  test('of more bound what is in flight to what it was, and leave room for others', () => {
    const flow = steady();
    flow.round({ bandwidth: LINE, lost: 0.05 * PIPE, inFlight: 1.2 * PIPE });
    expect(flow.bbr.inflightHigh).toBe(1.2 * PIPE);
    expect(flow.tcb.cwnd).toBe(PIPE + QUANTA);
  });

  test('bound it to what was too much, less a part, where the path holds less', () => {
    const flow = steady();
    flow.round({ bandwidth: LINE, lost: 0.05 * PIPE, inFlight: 1.8 * PIPE });
    expect(flow.tcb.cwnd).toBe(0.85 * 1.8 * PIPE);
  });

  test('never bound it to less than the path holds', () => {
    const flow = steady();
    for (let i = 0; i < 50; i++) {
      flow.round({ bandwidth: LINE, lost: 0.5 * PIPE, inFlight: 0.1 * PIPE });
      expect(flow.bbr.inflightHigh).toBe(PIPE);
      expect(flow.tcb.cwnd).toBeGreaterThan(0.9 * PIPE);
    }
  });

  test('end the phase that sends more', () => {
    const flow = probingUp();
    flow.round({ bandwidth: LINE, lost: 0.05 * PIPE, inFlight: 1.2 * PIPE, roundTripUs: 39_000 });
    expect(flow.bbr.phase).toBe(1);
  });

  test('are forgotten step by step, by rounds that send more and lose little', () => {
    const flow = steady();
    flow.round({ bandwidth: LINE, lost: 0.05 * PIPE, inFlight: PIPE });
    for (let i = 0; i < 40 && flow.bbr.inflightHigh !== 0; i++) {
      flow.round({ bandwidth: LINE, roundTripUs: 40_001 });
    }
    expect(flow.bbr.inflightHigh).toBe(0);
  });
});

describe('PROBE_RTT', () => {
  /** A queue makes every round trip longer than the first ones. */
  const QUEUED = { bandwidth: LINE, roundTripUs: 50_000, inFlight: PIPE };

  /** A flow that has not seen a shorter round trip for ten seconds. */
  function probing(): BbrFlow {
    const flow = steady();
    for (let i = 0; flow.bbr.mode !== BbrMode.PROBE_RTT; i++) {
      expect(i).toBeLessThan(10.1 * SECOND_ROUNDS);
      flow.round(QUEUED);
    }
    return flow;
  }

  test('comes when no round trip was as short for ten seconds, and not before', () => {
    const flow = steady();
    for (let us = 0; us <= 9_900_000; us += QUEUED.roundTripUs) flow.round(QUEUED);
    expect(flow.bbr.mode).toBe(BbrMode.PROBE_BW);
    flow.rounds(4, QUEUED);
    expect(flow.bbr.mode).toBe(BbrMode.PROBE_RTT);
  });

  test('does not come while round trips are as short as ever', () => {
    const flow = steady();
    for (let us = 0; us <= 30_000_000; us += ROUND_TRIP_US) {
      flow.round({ bandwidth: LINE, inFlight: PIPE });
      expect(flow.bbr.mode).toBe(BbrMode.PROBE_BW);
    }
  });

  test('halves what is in flight for 200 ms and a round trip, and then restores the window', () => {
    const flow = probing();
    expect(flow.tcb.cwnd).toBeLessThanOrEqual((0.5 * LINE * 50_000) / 1e6 + 1);
    flow.round({ bandwidth: LINE / 2, inFlight: 0.9 * PIPE });
    const start = flow.now;
    const half = { bandwidth: LINE / 2, inFlight: 0.4 * PIPE };
    while (flow.bbr.mode === BbrMode.PROBE_RTT) flow.round(half);
    // One round trip more, in which the flight became small.
    expect(flow.now - start).toBe(240_000);
    expect(flow.bbr.mode).toBe(BbrMode.PROBE_BW);
    expect(flow.bbr.minRttUs).toBe(ROUND_TRIP_US);
    expect(flow.bbr.bandwidth).toBeCloseTo(LINE, -1);
    expect(flow.tcb.cwnd).toBeGreaterThan(1.9 * PIPE);
  });

  test('does not come after a silence, which has drained the path', () => {
    const flow = steady();
    flow.now = (flow.now + 20_000_000) as Instant;
    restartBbr(flow.tcp, flow.now);
    flow.round(QUEUED);
    expect(flow.bbr.mode).toBe(BbrMode.PROBE_BW);
    expect(flow.bbr.minRttUs).toBe(QUEUED.roundTripUs);
  });
});

test('flows begin at different places of the cycle, and never with less', () => {
  const phases = new Set<number>();
  for (let iss = 0; iss < 6; iss++) {
    const flow = new BbrFlow();
    flow.tcb.iss = iss as typeof flow.tcb.iss;
    flow.rounds(4, { bandwidth: LINE });
    flow.round({ bandwidth: LINE, inFlight: PIPE });
    phases.add(flow.bbr.phase);
  }
  expect([...phases].toSorted()).toEqual([2, 3, 4, 5, 6, 7]);
});
