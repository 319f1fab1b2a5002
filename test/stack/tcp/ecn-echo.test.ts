/** ECN, RFC 3168 §6.1.2: what the sender makes of ECE, and what it marks as ECN-capable. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import {
  echo,
  farRig,
  MSS,
  roundTrip,
  ack as sacked,
  sendFlight,
} from '../../support/sack-traces.ts';
import type { RigOptions, TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

const ECT_0 = 2;

/** An open connection with ten segments in flight, all read. */
function inFlight(options: RigOptions = {}): TcpRig {
  const rig = inState('ESTABLISHED', { ecn: true, ...options });
  rig.send(10 * MSS);
  expect(rig.tcb.flightSize).toBe(10 * MSS);
  rig.peer.readAll();
  return rig;
}

const cuts = (rig: TcpRig): number => rig.counters.get(Counter.ECN_WINDOW_CUTS);
const ack = (segments: number): number => 1 + segments * MSS;

describe('ECE on an acknowledgment', () => {
  test('halves the window of NewReno, and opens nothing', () => {
    const rig = inFlight();
    rig.peer.sends(`E. 1:1(0) ack ${ack(2)} win 512`);
    expect([rig.tcb.cwnd, rig.tcb.ssthresh]).toEqual([5 * MSS, 5 * MSS]);
    expect(cuts(rig)).toBe(1);
  });

  test('leaves seven tenths to CUBIC (RFC 9438 §4.6)', () => {
    const rig = inFlight({ sack: true });
    rig.peer.sends(`E. 1:1(0) ack ${ack(2)} win 512`);
    expect([rig.tcb.cwnd, rig.tcb.ssthresh]).toEqual([7 * MSS, 7 * MSS]);
    expect(rig.tcb.cubicMax).toBe(10 * MSS);
  });

  for (const sack of [false, true]) {
    test(`cuts once in a round trip, and CWR goes on the next new data, SACK ${sack}`, () => {
      const rig = inFlight({ sack });
      rig.peer.sends(`E. 1:1(0) ack ${ack(1)} win 512`);
      const { cwnd } = rig.tcb;
      for (const segments of [2, 5, 10]) {
        rig.peer.sends(`E. 1:1(0) ack ${ack(segments)} win 512`);
        expect(rig.tcb.cwnd).toBe(cwnd);
      }
      expect(cuts(rig)).toBe(1);
      rig.send(MSS);
      expect(rig.peer.expects(`PW. ${ack(10)}:${ack(11)}(1460)`).ecn).toBe(ECT_0);
      rig.send(MSS);
      expect(rig.peer.expects(`P. ${ack(11)}:${ack(12)}(1460)`).ecn).toBe(ECT_0);
      // The mark is newer than the cut.
      rig.peer.sends(`E. 1:1(0) ack ${ack(12)} win 512`);
      expect(cuts(rig)).toBe(2);
      expect(rig.tcb.cwnd).toBeLessThan(cwnd);
    });
  }

  test('means nothing where ECN is not in use', () => {
    const rig = inFlight({ ecn: false });
    rig.peer.sends(`E. 1:1(0) ack ${ack(10)} win 512`);
    expect(cuts(rig)).toBe(0);
    expect(rig.tcb.cwnd).toBe(20 * MSS);
    rig.send(MSS);
    expect(rig.peer.expects(`P. ${ack(10)}:${ack(11)}(1460)`).ecn).toBe(0);
  });

  test('of nothing new is not looked at: the handshake, and an old ACK again', () => {
    const rig = inState('SYN-RECEIVED', { ecn: true });
    rig.peer.sends('E. 1:1(0) ack 1 win 512');
    rig.peer.sends('E. 1:1(0) ack 1 win 512');
    expect(rig.state).toBe('ESTABLISHED');
    expect(cuts(rig)).toBe(0);
  });

  test('has a mark to compare with that stays close behind, so that it never seems ahead', () => {
    const rig = inFlight();
    for (const segments of [1, 4, 10]) {
      rig.peer.sends(`. 1:1(0) ack ${ack(segments)} win 512`);
      expect((rig.tcb.sndUna - rig.tcb.cutEnd) | 0).toBe(1);
    }
  });
});

describe('the window was cut', () => {
  test('for a loss: ECE in recovery cuts nothing, and CWR goes on the next new data', () => {
    const rig = farRig({ ecn: true });
    sendFlight(rig, 10);
    roundTrip(rig);
    sacked(rig, 0, [2, 6]);
    for (const segment of rig.peer.readAll()) expect(segment.ecn).toBe(0);
    expect(rig.tcb.has(TcbFlag.FAST_RECOVERY)).toBe(true);
    const { ssthresh } = rig.tcb;
    echo(rig, 0, [2, 8]);
    echo(rig, 10);
    expect(cuts(rig)).toBe(0);
    expect([rig.tcb.cwnd, rig.tcb.ssthresh]).toEqual([ssthresh, ssthresh]);
    rig.send(MSS);
    rig.peer.expects(`PW. ${ack(10)}:${ack(11)}(1460)`);
  });

  test('for ECE: a loss of the same round trip does not cut the threshold again', () => {
    const rig = farRig({ ecn: true });
    sendFlight(rig, 10);
    roundTrip(rig);
    echo(rig, 1);
    const { ssthresh } = rig.tcb;
    echo(rig, 1, [3, 8]);
    expect(rig.tcb.has(TcbFlag.FAST_RECOVERY)).toBe(true);
    expect(rig.tcb.ssthresh).toBe(ssthresh);
    // A loss of the next one does.
    echo(rig, 10);
    sendFlight(rig, 6);
    roundTrip(rig);
    sacked(rig, 11, [13, 16]);
    expect(rig.tcb.has(TcbFlag.FAST_RECOVERY)).toBe(true);
    expect(rig.tcb.ssthresh).toBeLessThan(ssthresh);
  });

  test('for ECE, and a loss came: no ECE cuts until the recovery is over', () => {
    const rig = farRig({ ecn: true });
    sendFlight(rig, 10);
    roundTrip(rig);
    echo(rig, 6);
    sendFlight(rig, 2);
    roundTrip(rig);
    echo(rig, 6, [8, 11]);
    expect(rig.tcb.has(TcbFlag.FAST_RECOVERY)).toBe(true);
    echo(rig, 11);
    expect(rig.tcb.has(TcbFlag.FAST_RECOVERY)).toBe(true);
    expect(cuts(rig)).toBe(1);
  });

  for (const hasEcho of [false, true]) {
    test(`for a loss that was none: it is taken back, unless ECE came, ECE ${hasEcho}`, () => {
      const rig = farRig({ ecn: true });
      sendFlight(rig, 10);
      roundTrip(rig);
      sacked(rig, 0, [2, 10]);
      rig.peer.readAll();
      if (hasEcho) echo(rig, 10);
      else sacked(rig, 10);
      roundTrip(rig);
      // Both that were sent again arrived twice.
      sacked(rig, 10, [0, 1]);
      sacked(rig, 10, [1, 2]);
      expect(rig.tcb.cwnd >= 10 * MSS).toBe(!hasEcho);
    });
  }

  test('for a timeout: CWR goes on new data, and what is sent again has no ECT', () => {
    const rig = inFlight();
    rig.waitForFrame();
    expect(rig.peer.expects(`P. 1:${ack(1)}(1460)`).ecn).toBe(0);
    for (let i = 0; i < 20 && rig.tcb.flightSize > 0; i++) {
      for (const segment of rig.peer.readAll()) expect(segment.ecn).toBe(0);
      rig.peer.sends(`. 1:1(0) ack ${ack(10)} win 512`);
    }
    rig.send(100);
    expect(rig.peer.expects(`PW. ${ack(10)}:${ack(10) + 100}(100)`).ecn).toBe(ECT_0);
  });
});

describe('not ECN-capable', () => {
  test('are pure ACKs, a FIN, and probes of a closed window (§6.1.4, §6.1.6)', () => {
    const rig = inState('ESTABLISHED', { ecn: true });
    rig.peer.sends('P. 1:2921(2920) ack 1 win 0');
    rig.wait(44);
    expect(rig.peer.expects('. 1:1(0) ack 2921').ecn).toBe(0);
    rig.send(100);
    rig.waitForFrame();
    expect(rig.peer.expects('. 0:0(0) ack 2921').ecn).toBe(0);
    rig.peer.sends('. 2921:2921(0) ack 1 win 512');
    expect(rig.peer.expects('P. 1:101(100)').ecn).toBe(ECT_0);
    rig.close();
    expect(rig.peer.expects('F. 101:101(0)').ecn).toBe(0);
  });

  test('is a tail loss probe', () => {
    const rig = inFlight({ sack: true });
    rig.waitForFrame();
    expect(rig.peer.expects(`P. ${ack(9)}:${ack(10)}(1460)`).ecn).toBe(0);
  });
});

test('a window of one segment cannot be cut: one segment goes out for each timeout', () => {
  const rig = inState('ESTABLISHED', { ecn: true });
  let acked = 1;
  /** Reads one new segment, and nothing more, and acknowledges it. */
  const acknowledgeNext = (flags: string) => {
    rig.peer.expects(`PW. ${acked}:${acked + MSS}(1460)`);
    rig.peer.expectsNothing();
    acked += MSS;
    rig.peer.sends(`${flags} 1:1(0) ack ${acked} win 512`);
  };
  rig.send(MSS);
  rig.peer.expects(`P. 1:${ack(1)}(1460)`);
  acked = ack(1);
  rig.peer.sends(`E. 1:1(0) ack ${acked} win 512`);
  for (let halvings = 0; halvings < 3; halvings++) {
    rig.send(MSS);
    acknowledgeNext('E.');
  }
  expect(rig.tcb.cwnd).toBe(MSS);
  rig.send(MSS);
  acknowledgeNext('E.');
  rig.send(4 * MSS);
  for (let timeouts = 0; timeouts < 2; timeouts++) {
    rig.peer.expectsNothing();
    expect(rig.waitForFrame()).toBeGreaterThanOrEqual(200);
    acknowledgeNext('E.');
  }
  rig.waitForFrame();
  acknowledgeNext('.');
  // Without ECE the pause is over.
  expect(rig.frames).toHaveLength(1);
});

test('the pause also ends with an ACK without ECE, while something is in flight', () => {
  const rig = inFlight();
  // As if the last of several echoes had found a window of one segment.
  rig.tcb.ecnPause = 1;
  rig.peer.sends(`E. 1:1(0) ack ${ack(1)} win 512`);
  rig.send(MSS);
  rig.peer.sends(`E. 1:1(0) ack ${ack(9)} win 512`);
  rig.peer.expectsNothing();
  rig.peer.sends(`. 1:1(0) ack ${ack(10)} win 512`);
  rig.peer.expects(`PW. ${ack(10)}:${ack(11)}(1460)`);
});
