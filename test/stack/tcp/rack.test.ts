/** Loss by time: RFC 8985 §6.2. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { TcbFlag, TimerKind } from '../../../src/stack/tcp/tcb.ts';
import {
  ack,
  farRig,
  MSS,
  ROUND_TRIP_MS,
  roundTrip,
  sendFlight,
  sentPackets,
} from '../../support/sack-traces.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';

/** Ten packets, each sent a millisecond after the one before; the first is answered. */
function spaced(options = {}): TcpRig {
  const rig = farRig(options);
  rig.tcb.cwnd = 100 * MSS;
  for (let i = 0; i < 10; i++) {
    rig.send(MSS);
    rig.clock.advance(1000);
  }
  sentPackets(rig);
  rig.clock.advance((ROUND_TRIP_MS - 10) * 1000);
  return rig;
}

describe('the segment that was sent last of those delivered (step 2)', () => {
  test('sets RACK.rtt and RACK.end_seq', () => {
    const rig = spaced();
    ack(rig, 0, [2, 3]);
    expect(rig.tcb.rackRttUs).toBe((ROUND_TRIP_MS - 2) * 1000);
    expect((rig.tcb.rackEnd - rig.tcb.sndUna) >>> 0).toBe(3 * MSS);
    rig.clock.advance(1000);
    ack(rig, 0, [2, 3], [1, 2]);
    // Delivered later, but sent earlier.
    expect((rig.tcb.rackEnd - rig.tcb.sndUna) >>> 0).toBe(3 * MSS);
  });

  test('is not a retransmission whose answer comes too soon to be one', () => {
    const rig = spaced();
    ack(rig, 0, [1, 4]);
    expect(sentPackets(rig)).toEqual([0]);
    const before = rig.tcb.rackSentAt;
    rig.clock.advance(5000);
    ack(rig, 1, [1, 4]);
    expect(rig.tcb.rackSentAt).toBe(before);
  });
});

describe('reordering (steps 3 and 4)', () => {
  test('fewer than three packets behind a hole wait a quarter of the least round trip', () => {
    const rig = spaced();
    ack(rig, 0, [1, 2]);
    expect(sentPackets(rig)).toEqual([]);
    expect(rig.tcb.timerKind).toBe(TimerKind.REORDER);
    const waited = rig.waitForFrame();
    expect(sentPackets(rig)).toEqual([0]);
    // 99 ms is the least round trip; a packet sent 1 ms before is late by that.
    expect(waited).toBeGreaterThanOrEqual(24);
    expect(waited).toBeLessThan(24 + 8);
    expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(0);
  });

  test('a packet that is late by less is not sent again', () => {
    const rig = spaced();
    ack(rig, 0, [1, 3]);
    rig.clock.advance(10_000);
    ack(rig, 3);
    rig.wait(40);
    expect(sentPackets(rig)).toEqual([]);
    expect(rig.tcb.has(TcbFlag.REORDERED)).toBe(true);
  });

  test('once packets were seen to overtake, three behind a hole are no proof', () => {
    const rig = spaced();
    ack(rig, 0, [1, 2]);
    ack(rig, 2);
    ack(rig, 2, [3, 10]);
    expect(sentPackets(rig)).toEqual([]);
    rig.wait(40);
    expect(sentPackets(rig)).toEqual([2]);
  });

  test('a retransmission that fills a hole is no reordering', () => {
    const rig = spaced();
    ack(rig, 0, [1, 10]);
    expect(sentPackets(rig)).toEqual([0]);
    roundTrip(rig);
    ack(rig, 10);
    expect(rig.tcb.has(TcbFlag.REORDERED)).toBe(false);
  });

  test('each round trip with a duplicate reported waits a quarter more, for 16 recoveries', () => {
    const rig = spaced();
    expect(rig.tcb.reorderSteps).toBe(1);
    const line = (from: number) => {
      const block = `${1 + from * MSS}:${1 + (from + 1) * MSS}`;
      return `. 1:1(0) ack ${1 + 2 * MSS} win 2000 <nop,nop,sack ${block}>`;
    };
    rig.peer.sends(line(0));
    rig.peer.sends(line(1));
    expect(rig.tcb.reorderSteps).toBe(2);
    ack(rig, 10);
    rig.send(MSS);
    rig.peer.sends(line(1).replace(`ack ${1 + 2 * MSS}`, `ack ${1 + 10 * MSS}`));
    expect(rig.tcb.reorderSteps).toBe(3);
    ack(rig, 11);
    for (let recovery = 0; recovery < 16; recovery++) {
      expect(rig.tcb.reorderSteps).toBe(3);
      sentPackets(rig);
      rig.tcb.cwnd = 100 * MSS;
      const first = rig.flow.sent / MSS;
      sendFlight(rig, 5);
      roundTrip(rig);
      ack(rig, first, [first + 1, first + 5]);
      rig.wait(200);
      ack(rig, first + 5);
    }
    expect(rig.tcb.reorderSteps).toBe(1);
  });
});
