/** The marks of the send queue: which units an ACK settles, and what the sums say. */
import { describe, expect, test } from 'bun:test';
import { forgetLost, forgetSacked } from '../../../src/stack/tcp/scoreboard.ts';
import { markedBytes } from '../../support/marked-bytes.ts';
import { ack, farRig, MSS, roundTrip, sentPackets } from '../../support/sack-traces.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';

/** A flight of so many bytes in as few slabs as can be. */
function flight(bytes: number, options = {}): TcpRig {
  const rig = farRig(options);
  rig.tcb.cwnd = 10_000_000;
  rig.send(bytes);
  rig.peer.readAll();
  roundTrip(rig);
  return rig;
}

const sack = (rig: TcpRig, acked: number, from: number, to: number) =>
  rig.peer.sends(`. 1:1(0) ack ${acked} win 2000 <nop,nop,sack ${from}:${to}>`);

const sums = ({ tcb }: TcpRig) => [tcb.sackedBytes, tcb.lostBytes];

describe('SACKED', () => {
  test('across slabs, and the last unit of a slab may be short', () => {
    const rig = flight(100_000);
    sack(rig, 1, 1 + MSS, 100_001);
    expect(rig.tcb.sackedBytes).toBe(100_000 - MSS);
    expect(markedBytes(rig)).toEqual({ sackedBytes: 100_000 - MSS, lostBytes: 0 });
  });

  test('the same block again changes nothing', () => {
    const rig = flight(50 * MSS);
    ack(rig, 0, [40, 45]);
    ack(rig, 0, [40, 45], [40, 45]);
    expect(rig.tcb.sackedBytes).toBe(5 * MSS);
    expect((rig.tcb.rackEnd - rig.tcb.sndUna) >>> 0).toBe(45 * MSS);
  });

  test('an acknowledgment takes the marks below it, in the middle of a slab', () => {
    const rig = flight(40 * MSS);
    ack(rig, 0, [10, 20], [35, 40]);
    expect(rig.tcb.sackedBytes).toBe(15 * MSS);
    ack(rig, 15, [35, 40]);
    expect(rig.tcb.sackedBytes).toBe(10 * MSS);
    ack(rig, 40);
    expect(sums(rig)).toEqual([0, 0]);
  });

  test('a tiny MSS puts several packets into one unit, and all of them are needed', () => {
    const rig = farRig({ limits: { slabBytes: 16e6 } });
    rig.tcb.mss = 100;
    rig.tcb.cwnd = 10_000_000;
    rig.send(20_000);
    rig.peer.readAll();
    // 200 packets in 64 units: 4 packets in each.
    sack(rig, 1, 1 + 100, 1 + 1200);
    expect(rig.tcb.sackedBytes).toBe(800);
  });
});

describe('LOST', () => {
  test('what arrives after all is lost no more', () => {
    const rig = flight(80 * MSS);
    ack(rig, 0, [60, 80]);
    expect(sentPackets(rig)).toHaveLength(20);
    const lost = rig.tcb.lostBytes;
    expect(lost).toBe(40 * MSS);
    ack(rig, 0, [55, 80]);
    expect(rig.tcb.lostBytes).toBeLessThanOrEqual(35 * MSS);
    expect(markedBytes(rig).lostBytes).toBe(rig.tcb.lostBytes);
  });

  test('all marks of a kind can be forgotten', () => {
    const rig = flight(40 * MSS);
    ack(rig, 0, [20, 40]);
    const tcp = { tcb: rig.tcb, arena: rig.stack.arena } as unknown as Parameters<
      typeof forgetLost
    >[0];
    forgetLost(tcp);
    expect(markedBytes(rig)).toEqual({ sackedBytes: 20 * MSS, lostBytes: 0 });
    forgetSacked(tcp);
    expect(markedBytes(rig)).toEqual({ sackedBytes: 0, lostBytes: 0 });
    expect(sums(rig)).toEqual([0, 0]);
  });
});
