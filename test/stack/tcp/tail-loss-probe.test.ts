/** A lost tail costs a probe, not a timeout: RFC 8985 §7. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { ack, farRig, MSS, roundTrip, sendFlight, sentPackets } from '../../support/sack-traces.ts';

const TIMEOUTS = Counter.TCP_TIMEOUTS;

describe('the probe', () => {
  test('is the last packet, two round trips after the flight', () => {
    const rig = farRig();
    sendFlight(rig, 5);
    const waited = rig.waitForFrame();
    expect(sentPackets(rig)).toEqual([4]);
    expect(waited).toBeGreaterThanOrEqual(200);
    expect(waited).toBeLessThan(210);
    expect(rig.counters.get(TIMEOUTS)).toBe(0);
  });

  test('shows by its answer what is missing: the tail is repaired without a timeout', () => {
    const rig = farRig();
    sendFlight(rig, 6);
    roundTrip(rig);
    ack(rig, 2);
    rig.waitForFrame();
    expect(sentPackets(rig)).toEqual([5]);
    roundTrip(rig);
    ack(rig, 2, [5, 6]);
    rig.wait(40);
    expect(sentPackets(rig)).toEqual([2]);
    roundTrip(rig);
    ack(rig, 3, [5, 6]);
    expect(sentPackets(rig)).toEqual([3, 4]);
    roundTrip(rig);
    ack(rig, 6);
    expect(rig.counters.get(TIMEOUTS)).toBe(0);
    expect(rig.tcb.flightSize).toBe(0);
    expect(rig.tcb.cwnd).toBeLessThan(10 * MSS);
  });

  test('is a FIN, when a FIN was last', () => {
    const rig = farRig();
    rig.close();
    rig.peer.expects('F. 1:1(0) ack 1');
    rig.waitForFrame();
    rig.peer.expects('F. 1:1(0) ack 1');
    expect(rig.counters.get(TIMEOUTS)).toBe(0);
  });

  test('of data before a FIN carries the FIN', () => {
    const rig = farRig();
    rig.send(2 * MSS);
    rig.close();
    sentPackets(rig);
    rig.waitForFrame();
    rig.peer.expects(`FP. ${1 + MSS}:${1 + 2 * MSS}(${MSS}) ack 1`);
  });

  test('of one packet gives the peer time for a delayed ACK', () => {
    const rig = farRig();
    rig.send(100);
    sentPackets(rig);
    expect(rig.waitForFrame()).toBeGreaterThanOrEqual(300);
  });

  test('comes once; then the timeout is next', () => {
    const rig = farRig();
    sendFlight(rig, 5);
    rig.waitForFrame();
    sentPackets(rig);
    rig.waitForFrame();
    expect(sentPackets(rig)).toContain(0);
    expect(rig.counters.get(TIMEOUTS)).toBe(1);
  });

  test('is not sent without SACK, nor while something else is known to be missing', () => {
    const plain = farRig({ sack: false });
    sendFlight(plain, 5);
    plain.waitForFrame();
    expect(sentPackets(plain)).toEqual([0]);
    expect(plain.counters.get(TIMEOUTS)).toBe(1);
    const rig = farRig();
    sendFlight(rig, 5);
    roundTrip(rig);
    ack(rig, 0, [1, 2]);
    rig.wait(40);
    expect(sentPackets(rig)).toEqual([0]);
  });
});

describe('its answer (§7.4)', () => {
  const probed = () => {
    const rig = farRig();
    sendFlight(rig, 5);
    rig.waitForFrame();
    expect(sentPackets(rig)).toEqual([4]);
    expect(rig.tcb.has(TcbFlag.PROBING)).toBe(true);
    return rig;
  };

  test('that it arrived twice: nothing was lost, the window stays', () => {
    const rig = probed();
    const { cwnd } = rig.tcb;
    ack(rig, 5);
    ack(rig, 5, [4, 5]);
    expect(rig.tcb.has(TcbFlag.PROBING)).toBe(false);
    expect(rig.tcb.cwnd).toBeGreaterThanOrEqual(cwnd);
  });

  test('the same, of a peer that reports no duplicates: it repeats its ACK', () => {
    const rig = probed();
    ack(rig, 5);
    const { cwnd } = rig.tcb;
    rig.peer.sends(`. 1:1(0) ack ${1 + 5 * MSS} win 1999`);
    expect(rig.tcb.has(TcbFlag.PROBING)).toBe(true);
    rig.peer.sends(`. 1:1(0) ack ${1 + 5 * MSS} win 1999`);
    expect(rig.tcb.has(TcbFlag.PROBING)).toBe(false);
    sendFlight(rig, 2);
    roundTrip(rig);
    ack(rig, 7);
    expect(rig.tcb.cwnd).toBeGreaterThanOrEqual(cwnd);
  });

  test('that it arrived once: it repaired a loss, and the window is cut for it', () => {
    const rig = probed();
    ack(rig, 5);
    const { cwnd } = rig.tcb;
    sendFlight(rig, 2);
    roundTrip(rig);
    ack(rig, 7);
    expect(rig.tcb.has(TcbFlag.PROBING)).toBe(false);
    expect(rig.tcb.cwnd).toBeLessThan(cwnd);
  });
});
