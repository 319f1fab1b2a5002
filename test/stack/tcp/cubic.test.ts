/** The curve of RFC 9438, and where Reno is faster. */
import { describe, expect, test } from 'bun:test';
import { FLOW_ROW_BYTES } from '../../../src/stack/flow-row.ts';
import { cutCubic, endEpoch, growCubic, undoCubic } from '../../../src/stack/tcp/cubic.ts';
import { TCB_ROW_BYTES, Tcb } from '../../../src/stack/tcp/tcb.ts';
import type { Instant } from '../../../src/stack/time.ts';

const MSS = 1000;
const START = 1_000_000_000;

function block(packets: number, roundTripMs: number): Tcb {
  const memory = new DataView(new ArrayBuffer(TCB_ROW_BYTES + FLOW_ROW_BYTES));
  const tcb = new Tcb(memory, 0, TCB_ROW_BYTES).moveTo(0);
  tcb.clear();
  tcb.mss = MSS;
  tcb.cwnd = packets * MSS;
  tcb.srttUs = roundTripMs * 1000;
  return tcb;
}

/** A loss at the present window. */
function lose(tcb: Tcb): void {
  tcb.cwnd = Math.floor(cutCubic(tcb, tcb.cwnd));
}

/** Lets windows be acknowledged, one each round trip, packet by packet. */
function run(tcb: Tcb, fromSeconds: number, seconds: number): void {
  const roundTrip = tcb.srttUs / 1e6;
  for (let at = fromSeconds; at < fromSeconds + seconds - 1e-9; at += roundTrip) {
    const packets = Math.floor(tcb.cwnd / MSS);
    for (let i = 0; i < packets; i++) {
      tcb.cwnd = growCubic(tcb, MSS, (START + (at + (i * roundTrip) / packets) * 1e6) as Instant);
    }
  }
}

describe('after a loss', () => {
  test('the window is seven tenths (§4.6), and W_max is what it was', () => {
    const tcb = block(1000, 100);
    lose(tcb);
    expect(tcb.cwnd).toBe(700 * MSS);
    expect(tcb.cubicMax).toBe(1000 * MSS);
  });

  test('it is back after K seconds: the cube root of 300 / 0.4 is 9.086 (§4.2)', () => {
    const tcb = block(1000, 100);
    lose(tcb);
    run(tcb, 0, 8.9);
    expect(tcb.cubicK).toBeCloseTo(9.086, 2);
    expect(tcb.cwnd / MSS).toBeGreaterThan(990);
    expect(tcb.cwnd / MSS).toBeLessThanOrEqual(1000);
    run(tcb, 8.9, 9.1);
    // As far behind K as before it: W_max and 300 more.
    expect(tcb.cwnd / MSS).toBeGreaterThan(1230);
    expect(tcb.cwnd / MSS).toBeLessThan(1310);
  });

  test('it climbs fast at first and is flat around W_max (figure 1)', () => {
    const tcb = block(1000, 100);
    lose(tcb);
    const windows = [0, 2, 4, 6, 8].map((from) => {
      run(tcb, from, 2);
      return tcb.cwnd;
    });
    const steps = windows.map((window, index) => window - (windows[index - 1] ?? 700 * MSS));
    expect(steps).toEqual([...steps].sort((a, b) => b - a));
  });

  test('a second loss at a smaller window gives way: fast convergence (§4.7)', () => {
    const tcb = block(1000, 100);
    lose(tcb);
    lose(tcb);
    expect(tcb.cubicMax).toBeCloseTo(700 * MSS * 0.85, 3);
  });

  test('that was none: W_max is what it was (§4.9)', () => {
    const tcb = block(1000, 100);
    lose(tcb);
    const { cubicMax } = tcb;
    lose(tcb);
    undoCubic(tcb);
    expect(tcb.cubicMax).toBe(cubicMax);
  });
});

describe('on a short path', () => {
  test('growth is that of Reno with this cut: 0.53 packets in a round trip (§4.3)', () => {
    const tcb = block(40, 1);
    lose(tcb);
    run(tcb, 0, 0.018);
    expect(tcb.cwnd / MSS).toBeGreaterThan(28 + 18 * 0.5);
    expect(tcb.cwnd / MSS).toBeLessThan(28 + 18 * 0.56);
  });

  test('and one packet once the old window is reached', () => {
    const tcb = block(40, 1);
    lose(tcb);
    run(tcb, 0, 0.03);
    const before = tcb.cwnd;
    run(tcb, 0.03, 0.01);
    expect((tcb.cwnd - before) / MSS).toBeGreaterThan(9);
    expect((tcb.cwnd - before) / MSS).toBeLessThan(11);
  });
});

test('without a loss the window is W_max, and growth starts flat', () => {
  const tcb = block(100, 100);
  run(tcb, 0, 0.2);
  expect(tcb.cubicK).toBe(0);
  expect(tcb.cwnd / MSS).toBeLessThan(102);
  expect(tcb.cwnd / MSS).toBeGreaterThan(100);
});

test('a window at most half as large again is the target of a round trip', () => {
  const tcb = block(10, 1000);
  lose(tcb);
  tcb.cubicMax = 100_000 * MSS;
  run(tcb, 100, 1);
  run(tcb, 101, 1);
  expect(tcb.cwnd / MSS).toBeLessThanOrEqual(7 * 1.5 ** 2 * 1.5);
});

test('time in which the window was not used does not count (§5.8)', () => {
  const tcb = block(1000, 100);
  lose(tcb);
  run(tcb, 0, 1);
  const before = tcb.cwnd;
  endEpoch(tcb);
  run(tcb, 3600, 0.1);
  expect(tcb.cwnd).toBeLessThan(before * 1.05);
});
