/** When bytes leave: the traces of flows whose window is open, on paths of different lengths. */
import { describe, expect, test } from 'bun:test';
import { BbrState } from '../../../src/stack/tcp/bbr-state.ts';
import { TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { asSeq } from '../../../src/stack/wire/seq.ts';
import { type RigOptions, TcpRig } from '../../support/tcp-rig.ts';

const MSS = 1460;
const PACKETS = 100;
const WINDOW = PACKETS * MSS;
const LIMITS = { slabBytes: 32 * 2 ** 20, slabBytesPerFlow: 8 * 2 ** 20 };

/** A flow in congestion avoidance, with a window of PACKETS and a round trip of this length. */
function open(roundTripUs: number, options: RigOptions = {}): TcpRig {
  const rig = new TcpRig({ sack: true, limits: LIMITS, ...options });
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  rig.peer.sends(rig.synLine);
  rig.peer.expects('S. 0:0(0) ack 1');
  rig.clock.advance(roundTripUs);
  rig.peer.sends('. 1:1(0) ack 1 win 60000');
  rig.send(MSS);
  rig.peer.readAll();
  rig.tcb.cwnd = WINDOW;
  rig.tcb.ssthresh = WINDOW;
  rig.clock.advance(roundTripUs);
  rig.peer.sends(`. 1:1(0) ack ${1 + MSS} win 60000`);
  rig.tcb.cwnd = WINDOW;
  return rig;
}

/** Payload bytes that the stack has sent since the last call. */
const sentBytes = (rig: TcpRig): number =>
  rig.peer.readAll().reduce((sum, { payload }) => sum + payload.length, 0);

/** Bytes that leave at once, and then in each millisecond. */
function departures(rig: TcpRig, bytes: number, milliseconds: number): number[] {
  rig.send(bytes);
  const sent = [sentBytes(rig)];
  for (let ms = 0; ms < milliseconds; ms++) {
    rig.wait(1);
    sent.push(sentBytes(rig));
  }
  return sent;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

describe('CUBIC', () => {
  test('spreads its window over the round trip of a long path', () => {
    const rig = open(100_000);
    const sent = departures(rig, 4 * WINDOW, 100);
    expect(WINDOW - sum(sent)).toBeLessThan(2 * MSS);
    // 1.2 windows a round trip: 1,752 bytes a millisecond. What was missed before is 4 ms' worth.
    expect(sent[0]).toBeLessThanOrEqual(7 * 1752 + 2 * MSS);
    expect(Math.max(...sent.slice(1))).toBeLessThanOrEqual(2 * MSS);
    for (const share of [0.25, 0.5, 0.75]) {
      const passed = sum(sent.slice(0, 1 + share * 83));
      expect(Math.abs(passed - share * WINDOW)).toBeLessThan(0.1 * WINDOW);
    }
    expect(sum(sent.slice(85))).toBe(0);
  });

  test('sends its window at once on a short path, and sets no timer for it', () => {
    for (const roundTripUs of [200, 2000, 4900]) {
      const rig = open(roundTripUs);
      rig.send(4 * WINDOW);
      // The last superpackets' worth waits for more room, as it does on a fast path.
      expect(sentBytes(rig)).toBeGreaterThan(0.8 * WINDOW);
      expect(rig.tcb.has(TcbFlag.PACED | TcbFlag.PACE_WAIT)).toBe(false);
      expect(rig.stack.pollAt() - rig.now).toBeGreaterThan(2 * roundTripUs);
    }
  });

  test('in slow start leaves at twice the window in a round trip', () => {
    const rig = open(100_000);
    rig.tcb.ssthresh = 0x7fffffff;
    rig.send(MSS);
    sentBytes(rig);
    rig.clock.advance(100_000);
    rig.peer.sends(`. 1:1(0) ack ${1 + 2 * MSS} win 60000`);
    const sent = departures(rig, 4 * WINDOW, 100);
    expect(WINDOW - sum(sent)).toBeLessThan(2 * MSS);
    expect(sum(sent.slice(0, 26))).toBeGreaterThan(0.4 * WINDOW);
    expect(sum(sent.slice(53))).toBe(0);
  });

  test('sends the first window at once, however long the path', () => {
    const rig = new TcpRig({ sack: true });
    rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
    rig.peer.sends(rig.synLine);
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.clock.advance(100_000);
    rig.peer.sends('. 1:1(0) ack 1 win 2000');
    rig.send(WINDOW);
    expect(sentBytes(rig)).toBe(10 * MSS);
  });

  test('after a silence makes up for four milliseconds, not for all of it', () => {
    const rig = open(100_000);
    rig.wait(90);
    const [first = 0] = departures(rig, 4 * WINDOW, 0);
    expect(first).toBeGreaterThan(4 * 1752);
    expect(first).toBeLessThanOrEqual(7 * 1752 + 2 * MSS);
  });

  test('a wake-up that comes late finds what was missed, so that the rate comes out', () => {
    const rig = open(100_000);
    rig.send(4 * WINDOW);
    let sent = sentBytes(rig);
    for (let ms = 0; ms < 60; ms += 3) {
      rig.clock.advance(3000);
      rig.stack.expire(rig.now);
      sent += sentBytes(rig);
    }
    expect(Math.abs(sent - 60 * 1752)).toBeLessThan(7 * 1752);
  });

  test('a flow that ends while it waits is not woken', () => {
    const rig = open(100_000);
    rig.send(4 * WINDOW);
    sentBytes(rig);
    expect(rig.tcb.has(TcbFlag.PACE_WAIT)).toBe(true);
    rig.peer.sends(`R ${1}:1(0)`);
    const calls = rig.flow.calls.length;
    rig.wait(50);
    expect(rig.flow.calls).toHaveLength(calls);
    rig.expectEmpty();
  });

  test('a flow that waits for the pacer does not probe for a window', () => {
    const rig = open(100_000);
    rig.tcb.raise(TcbFlag.PACED);
    const bbr = new BbrState(rig.stack.arena.view, rig.tcb);
    bbr.pacingRate = 1000;
    bbr.paceAt = rig.clock.in(3000);
    rig.send(MSS);
    rig.wait(2900);
    expect(sentBytes(rig)).toBe(0);
    rig.wait(110);
    expect(sentBytes(rig)).toBe(MSS);
  });
});

describe('a quantum', () => {
  /** What a flow may send at once that has missed nothing. */
  function quantum(bytesPerSecond: number, mss = MSS): number {
    const rig = open(100_000);
    rig.tcb.cwnd = 8 * 2 ** 20;
    if (mss < MSS) rig.tcb.fullMss = MSS;
    rig.tcb.mss = mss;
    rig.tcb.raise(TcbFlag.PACED);
    const bbr = new BbrState(rig.stack.arena.view, rig.tcb);
    bbr.pacingRate = bytesPerSecond;
    bbr.paceAt = rig.now;
    return rig.stack.room(rig.row, rig.now);
  }

  test('is worth a millisecond, in whole packets', () => {
    expect(quantum(5_000_000)).toBe(3 * MSS);
    expect(quantum(100_000_000)).toBe(68 * MSS);
  });

  test('is two packets at least, and four superpackets at most', () => {
    expect(quantum(1000)).toBe(2 * MSS);
    expect(quantum(10_000_000_000)).toBe(179 * MSS);
  });

  test('has room for a probe of the old size, while a black hole is suspected', () => {
    expect(quantum(1000, 256)).toBe(MSS);
  });

  test('that a large slab would hold with much room left is cut to a medium one', () => {
    expect(quantum(25_000_000)).toBe(11 * MSS);
    expect(quantum(40_000_000)).toBe(27 * MSS);
  });
});

describe('BBR', () => {
  test('sends again what was lost at its rate, and new data behind it', () => {
    const rig = open(100_000, { settings: { congestion: 'bbr' } });
    const bbr = new BbrState(rig.stack.arena.view, rig.tcb);
    bbr.pacingRate = 1_460_000;
    const sent = departures(rig, 4 * WINDOW, 60);
    expect(sum(sent)).toBeGreaterThan(50 * MSS);
    expect(Math.max(...sent.slice(1))).toBeLessThanOrEqual(2 * MSS);
    // Of the first sixty packets only the last ten arrive.
    const at = (packet: number) => 1 + packet * MSS;
    const una = (rig.tcb.sndUna - rig.tcb.iss) / MSS;
    const first = Math.floor(una);
    rig.wait(40);
    sentBytes(rig);
    bbr.paceAt = rig.now;
    const blocks = `<nop,nop,sack ${at(first + 40)}:${at(first + 50)}>`;
    rig.peer.sends(`. 1:1(0) ack ${at(first)} win 60000 ${blocks}`);
    const again = [sentBytes(rig)];
    const retransmitted = rig.tcb.lostBytes;
    expect(retransmitted).toBeGreaterThan(30 * MSS);
    for (let ms = 0; ms < 20; ms++) {
      rig.wait(1);
      again.push(sentBytes(rig));
    }
    const quantumOfRate = bbr.pacingRate / 1000;
    expect(Math.max(...again)).toBeLessThanOrEqual(quantumOfRate + 2 * MSS);
    expect(rig.tcb.lostBytes).toBeLessThan(retransmitted);
  });

  test('is paced from its first acknowledgment on, on short paths too', () => {
    const rig = open(1000, { settings: { congestion: 'bbr' } });
    expect(rig.tcb.has(TcbFlag.PACED)).toBe(true);
  });
});

test('numbers that are far from zero change nothing', () => {
  const rig = open(100_000, { stackIss: 0xffff_f000 });
  expect(rig.tcb.iss).toBe(asSeq(0xffff_f000));
  expect(WINDOW - sum(departures(rig, 4 * WINDOW, 100))).toBeLessThan(2 * MSS);
});
