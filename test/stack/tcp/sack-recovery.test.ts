/** What is sent again to a peer that permits SACK, and when recovery begins and ends. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { ack, farRig, MSS, roundTrip, sendFlight, sentPackets } from '../../support/sack-traces.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';
import { sendTooBig } from '../../support/too-big.ts';

/** Ten packets in flight, and a round trip has passed. */
function tenInFlight(options = {}): TcpRig {
  const rig = farRig(options);
  sendFlight(rig, 10);
  roundTrip(rig);
  return rig;
}

describe('holes', () => {
  test('only what was lost is sent again, once three packets behind it arrived', () => {
    const rig = tenInFlight();
    ack(rig, 1, [2, 3]);
    ack(rig, 1, [2, 4]);
    expect(sentPackets(rig)).toEqual([]);
    ack(rig, 1, [2, 5]);
    expect(sentPackets(rig)).toEqual([1]);
    ack(rig, 1, [2, 10]);
    expect(sentPackets(rig)).toEqual([]);
    roundTrip(rig);
    ack(rig, 10);
    expect(sentPackets(rig)).toEqual([]);
    expect(rig.counters.get(Counter.TCP_RETRANSMITS)).toBe(1);
    expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(0);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('several holes in one superpacket are filled in order, and nothing between them', () => {
    const rig = tenInFlight();
    ack(rig, 0, [1, 2]);
    ack(rig, 0, [3, 4], [1, 2]);
    ack(rig, 0, [6, 10], [3, 4], [1, 2]);
    const sent = sentPackets(rig);
    for (let i = 0; i < 5; i++) {
      roundTrip(rig);
      const next = [0, 2, 4, 5].find((hole) => !sent.includes(hole)) ?? 10;
      ack(rig, next, [6, 10]);
      sent.push(...sentPackets(rig));
    }
    expect(sent).toEqual([0, 2, 4, 5]);
    expect(rig.tcb.lostBytes).toBe(0);
  });

  test('lost packets that stand together leave in one superpacket', () => {
    const rig = tenInFlight();
    ack(rig, 0, [4, 10]);
    const first = sentPackets(rig);
    expect(first).toEqual([0, 1, 2, 3]);
    expect(rig.counters.get(Counter.TCP_RETRANSMITS)).toBe(1);
  });

  test('a retransmission that is lost is sent a third time without a timeout', () => {
    const rig = tenInFlight();
    ack(rig, 0, [1, 9]);
    expect(sentPackets(rig)).toEqual([0]);
    rig.send(3 * MSS);
    const fresh = sentPackets(rig);
    expect(fresh).toEqual([10, 11, 12]);
    roundTrip(rig);
    // The last of the first flight tells nothing; what was sent after the retransmission does.
    ack(rig, 0, [1, 10]);
    expect(sentPackets(rig)).toEqual([]);
    ack(rig, 0, [1, 13]);
    expect(sentPackets(rig)).toEqual([0]);
    roundTrip(rig);
    ack(rig, 13);
    expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(0);
    expect(rig.tcb.flightSize).toBe(0);
  });

  test('a block that covers a part of a packet says nothing of it', () => {
    const rig = tenInFlight();
    rig.peer.sends(`. 1:1(0) ack 1 win 2000 <nop,nop,sack ${1 + 100}:${1 + 3 * MSS + 700}>`);
    expect(rig.tcb.sackedBytes).toBe(2 * MSS);
  });

  test('blocks outside of what is in flight are not believed', () => {
    const rig = tenInFlight();
    const end = 1 + 10 * MSS;
    for (const block of [`${end}:${end + MSS}`, `5000:1`, `1:${end + 1}`, `-5000:-100`]) {
      rig.peer.sends(`. 1:1(0) ack 1 win 2000 <nop,nop,sack ${block}>`);
    }
    expect(rig.tcb.sackedBytes).toBe(0);
    expect(sentPackets(rig)).toEqual([]);
  });

  test('sequence numbers may wrap inside the flight', () => {
    const rig = tenInFlight({ stackIss: 0xffff_f000 });
    ack(rig, 0, [1, 10]);
    expect(sentPackets(rig)).toEqual([0]);
    ack(rig, 10);
    expect(rig.tcb.flightSize).toBe(0);
  });

  test('a FIN behind the last packet goes with it', () => {
    const rig = farRig();
    rig.send(5 * MSS);
    rig.close();
    sentPackets(rig);
    roundTrip(rig);
    rig.wait(1000);
    expect(sentPackets(rig).slice(0, 2)).toEqual([4, -1]);
  });
});

describe('the window in recovery', () => {
  test('comes down to half over a round trip (RFC 6937), and new data flows meanwhile', () => {
    const rig = tenInFlight();
    rig.send(100 * MSS);
    let inFlight = 10;
    for (let packet = 2; packet <= 10; packet++) {
      ack(rig, 0, [1, packet]);
      const sent = sentPackets(rig).length;
      inFlight += sent - 1 - (packet === 4 ? 1 : 0);
      expect(rig.tcb.inFlight).toBe(inFlight * MSS);
    }
    expect(rig.tcb.ssthresh).toBe(rig.tcb.cwnd);
    expect(Math.abs(inFlight - rig.tcb.ssthresh / MSS)).toBeLessThanOrEqual(1);
    expect(rig.tcb.has(TcbFlag.FAST_RECOVERY)).toBe(true);
    roundTrip(rig);
    ack(rig, 10);
    expect(rig.tcb.has(TcbFlag.FAST_RECOVERY)).toBe(true);
    ack(rig, rig.flow.sent / MSS);
    expect(rig.tcb.has(TcbFlag.FAST_RECOVERY)).toBe(false);
  });
});

test('an ACK that a retransmission brought measures no first transmission (Karn)', () => {
  const rig = tenInFlight();
  const { srttUs } = rig.tcb;
  // The ACKs of nine packets were lost, and what was sent again fills the hole before them.
  while (!rig.tcb.has(TcbFlag.LOSS_RECOVERY)) rig.wait(10);
  sentPackets(rig);
  roundTrip(rig);
  ack(rig, 10);
  expect(rig.tcb.srttUs).toBe(srttUs);
});

describe('a window that the peer took back (RFC 9293 §3.8.6)', () => {
  /** An ACK of nothing with a window of so many bytes: scaled by 128. */
  const shrink = (rig: TcpRig, packets: number, ...blocks: [number, number][]) => {
    const at = (packet: number) => 1 + packet * MSS;
    const sack = blocks.map(([from, to]) => `${at(from)}:${at(to)}`).join(' ');
    const window = Math.ceil((packets * MSS) / 128);
    rig.peer.sends(`. 1:1(0) ack 1 win ${window} <nop,nop,sack ${sack}>`);
  };

  test('what lies in it is sent again, and what lies behind it is not', () => {
    const rig = tenInFlight();
    shrink(rig, 3, [5, 10]);
    expect(sentPackets(rig)).toEqual([0, 1, 2]);
  });

  test('and closed is probed with the oldest packet', () => {
    const rig = tenInFlight();
    shrink(rig, 0, [5, 10]);
    expect(sentPackets(rig)).toEqual([0]);
  });
});

describe('timeout', () => {
  test('sends the oldest packet again, and the rest as acknowledgments come', () => {
    const rig = tenInFlight();
    const seen: number[] = [];
    for (let turn = 0; turn < 20 && rig.tcb.flightSize > 0; turn++) {
      rig.wait(rig.tcb.has(TcbFlag.LOSS_RECOVERY) ? 100 : 1000);
      const sent = sentPackets(rig);
      if (!rig.tcb.has(TcbFlag.LOSS_RECOVERY)) continue;
      seen.push(...sent.filter((packet) => packet !== 9 || seen.length > 0));
      const expected = [...Array(10).keys()].find((packet) => !seen.includes(packet)) ?? 10;
      ack(rig, expected);
      seen.push(...sentPackets(rig));
    }
    expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(1);
    expect(seen.slice(0, 10)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(rig.tcb.flightSize).toBe(0);
  });

  test('what the peer holds is not sent again', () => {
    const rig = tenInFlight();
    ack(rig, 0, [5, 6]);
    rig.wait(3000);
    const sent = sentPackets(rig);
    expect(sent).not.toContain(5);
    expect(sent).toContain(0);
  });

  test('a peer that throws away what it reported gets it again (RFC 2018 §8)', () => {
    const rig = tenInFlight();
    ack(rig, 0, [1, 10]);
    expect(sentPackets(rig)).toEqual([0]);
    roundTrip(rig);
    ack(rig, 1);
    expect(sentPackets(rig)).toEqual([]);
    rig.wait(2000);
    expect(sentPackets(rig)).toContain(1);
    expect(rig.tcb.sackedBytes).toBe(0);
  });
});

describe('a window that the peer took back (RFC 9293 §3.8.6)', () => {
  const takeBack = (rig: TcpRig, packets: number): void =>
    rig.peer.sends(`. 1:1(0) ack 1 win ${Math.ceil((packets * MSS) / 128)}`);

  test('bounds what is sent again, and all that it allows is', () => {
    const rig = tenInFlight();
    takeBack(rig, 6);
    sendTooBig(rig, 1, 1300);
    expect(sentPackets(rig)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('and is closed now: the oldest packet goes with each timeout, in shorter ones', () => {
    const rig = tenInFlight();
    takeBack(rig, 0);
    sendTooBig(rig, 1, 1300);
    for (let i = 0; i < 3; i++) {
      expect(sentPackets(rig)).toEqual([0]);
      rig.waitForFrame();
    }
    expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(3);
  });
});
