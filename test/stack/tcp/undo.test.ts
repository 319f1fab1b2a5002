/** A cut of the window is taken back when nothing was lost: RFC 3522, RFC 5682, RFC 3708. */
import { describe, expect, test } from 'bun:test';
import { TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { ack, farRig, MSS, roundTrip, sendFlight, sentPackets } from '../../support/sack-traces.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';

/** Ten packets in flight whose ACKs are late: probe and timeout have passed. */
function timedOut(options = {}): TcpRig {
  const rig = farRig(options);
  sendFlight(rig, 10);
  rig.waitForFrame();
  sentPackets(rig);
  rig.waitForFrame();
  expect(sentPackets(rig)).toContain(0);
  expect(rig.tcb.has(TcbFlag.LOSS_RECOVERY)).toBe(true);
  return rig;
}

const isRestored = (rig: TcpRig) =>
  !rig.tcb.has(TcbFlag.LOSS_RECOVERY | TcbFlag.FAST_RECOVERY) &&
  rig.tcb.cwnd >= 10 * rig.tcb.mss &&
  rig.tcb.lostBytes === 0;

describe('F-RTO (RFC 5682 §3.1)', () => {
  test('bytes that were sent once arrive after the timeout: it was spurious', () => {
    const rig = timedOut();
    rig.clock.advance(1000);
    ack(rig, 0, [5, 6]);
    expect(isRestored(rig)).toBe(true);
    expect(sentPackets(rig)).toEqual([]);
  });

  test('only what was sent again arrives: the timeout was right', () => {
    const rig = timedOut();
    roundTrip(rig);
    ack(rig, 1);
    expect(isRestored(rig)).toBe(false);
    expect(sentPackets(rig)).toEqual([1, 2]);
  });
});

describe('Eifel (RFC 3522 §3.2)', () => {
  test('the echo of a timestamp from before the retransmission restores the window', () => {
    const rig = farRig({ timestamps: true });
    rig.send(3000);
    rig.peer.readAll();
    const echo = rig.peer.tsRecent;
    rig.waitForFrame();
    rig.peer.readAll();
    rig.waitForFrame();
    rig.peer.readAll();
    expect(rig.tcb.has(TcbFlag.LOSS_RECOVERY)).toBe(true);
    const line = `. 1:1(0) ack 1449 win 2000 <nop,nop,TS val ${rig.clock.ms} ecr ${echo}>`;
    rig.peer.sends(line);
    expect(isRestored(rig)).toBe(true);
  });

  test('the echo of the retransmission does not', () => {
    const rig = farRig({ timestamps: true });
    rig.send(3000);
    rig.peer.readAll();
    rig.waitForFrame();
    rig.peer.readAll();
    rig.waitForFrame();
    rig.peer.readAll();
    roundTrip(rig);
    const { tsRecent } = rig.peer;
    rig.peer.sends(`. 1:1(0) ack 1449 win 2000 <nop,nop,TS val ${rig.clock.ms} ecr ${tsRecent}>`);
    expect(isRestored(rig)).toBe(false);
  });
});

describe('D-SACK (RFC 3708)', () => {
  test('everything that was sent again arrived twice: the cut is taken back', () => {
    const rig = farRig();
    sendFlight(rig, 10);
    roundTrip(rig);
    ack(rig, 0, [2, 10]);
    expect(sentPackets(rig)).toEqual([0, 1]);
    ack(rig, 10);
    expect(rig.tcb.cwnd).toBeLessThan(8 * MSS);
    roundTrip(rig);
    ack(rig, 10, [0, 1]);
    expect(rig.tcb.cwnd).toBeLessThan(10 * MSS);
    ack(rig, 10, [1, 2]);
    expect(rig.tcb.cwnd).toBeGreaterThanOrEqual(10 * MSS);
  });

  test('one report too few, and the cut stays', () => {
    const rig = farRig();
    sendFlight(rig, 10);
    roundTrip(rig);
    ack(rig, 0, [2, 10]);
    sentPackets(rig);
    ack(rig, 10, [0, 1]);
    expect(rig.tcb.cwnd).toBeLessThan(10 * MSS);
  });
});

describe('what is no witness', () => {
  /** Ten packets, of which the first was lost and sent again; the window is cut. */
  function cutForOne(options = {}): TcpRig {
    const rig = farRig(options);
    sendFlight(rig, 10);
    roundTrip(rig);
    ack(rig, 0, [1, 10]);
    expect(sentPackets(rig)).toEqual([0]);
    expect(rig.tcb.cwnd).toBeLessThan(10 * MSS);
    return rig;
  }

  test('a tail loss probe that arrived twice: it is not what the cut had sent again', () => {
    const rig = farRig();
    sendFlight(rig, 10);
    rig.waitForFrame();
    expect(sentPackets(rig)).toEqual([9]);
    ack(rig, 0, [1, 10]);
    expect(sentPackets(rig)).toEqual([0]);
    ack(rig, 0, [9, 10], [1, 10]);
    expect(rig.tcb.has(TcbFlag.FAST_RECOVERY)).toBe(true);
    roundTrip(rig);
    ack(rig, 10);
    expect(rig.tcb.cwnd).toBeLessThan(10 * MSS);
  });

  test('a packet sent after the cut that the network doubled', () => {
    const rig = cutForOne();
    roundTrip(rig);
    ack(rig, 10);
    sendFlight(rig, 4);
    roundTrip(rig);
    ack(rig, 14, [12, 13]);
    expect(rig.tcb.cwnd).toBeLessThan(10 * MSS);
  });

  test('new data of a recovery that a timeout ended (RFC 5682 §3.2)', () => {
    const rig = cutForOne();
    rig.tcb.cwnd = rig.tcb.inFlight + 3 * MSS;
    rig.send(3 * MSS);
    expect(sentPackets(rig)).toEqual([10, 11, 12]);
    while (!rig.tcb.has(TcbFlag.LOSS_RECOVERY)) rig.wait(10);
    expect(sentPackets(rig)).toContain(0);
    ack(rig, 0, [1, 13]);
    expect(rig.tcb.has(TcbFlag.LOSS_RECOVERY)).toBe(true);
    expect(rig.tcb.ssthresh).toBeLessThan(10 * MSS);
  });
});
