/** Sending again: after a timeout, after three duplicates, from the middle of a slab. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { FlowField } from '../../../src/stack/flow-row.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../../support/memory-device.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

const MSS = 1460;

/** Reads everything and gives it as `from-to`, in bytes of the stream. */
function sentRanges(rig: TcpRig): string[] {
  return rig.peer.readAll().map((segment) => {
    const start = rig.peer.relative(segment);
    return `${start}-${start + segment.payload.length}`;
  });
}

const ack = (rig: TcpRig, number: number, window = 512) =>
  rig.peer.sends(`. 1:1(0) ack ${number} win ${window}`);

/** The peer's ACK that says: something came, but not what I wait for. */
const duplicate = (rig: TcpRig, number: number, times: number) => {
  for (let i = 0; i < times; i++) ack(rig, number);
};

describe('after a timeout', () => {
  for (const family of [4, 6] as const) {
    for (const timestamps of [false, true]) {
      test(`IPv${family}, timestamps ${timestamps}: the same bytes are sent again`, () => {
        const rig = inState('ESTABLISHED', { family, timestamps });
        rig.send(1000);
        rig.peer.expects('P. 1:1001(1000) ack 1');
        rig.waitForFrame();
        rig.peer.expects('P. 1:1001(1000) ack 1');
        expect(rig.counters.get(Counter.TCP_RETRANSMITS)).toBe(1);
        expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(1);
        expect(rig.stack.arena.view.getUint32(rig.tcb.flowAt + FlowField.RETRANSMITS, true)).toBe(
          1,
        );
      });
    }
  }

  test('one full segment goes first, however large the superpacket was', () => {
    const rig = inState('ESTABLISHED');
    rig.send(10 * MSS);
    rig.peer.readAll();
    rig.waitForFrame();
    expect(sentRanges(rig)).toEqual([`1-${1 + MSS}`]);
  });

  test('then everything, as fast as acknowledgments open the window', () => {
    const rig = inState('ESTABLISHED');
    rig.send(10 * MSS);
    rig.peer.readAll();
    rig.waitForFrame();
    const seen = sentRanges(rig);
    let acked = 1 + MSS;
    while (acked < 1 + 10 * MSS) {
      ack(rig, acked);
      const ranges = sentRanges(rig);
      expect(ranges.length).toBeGreaterThan(0);
      seen.push(...ranges);
      acked = Number(ranges.at(-1)?.split('-')[1]);
    }
    expect(acked).toBe(1 + 10 * MSS);
    expect(seen.length).toBeLessThan(6);
    ack(rig, acked);
    expect(rig.tcb.flightSize).toBe(0);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('an acknowledgment of all ends the recovery, and new data goes out', () => {
    const rig = inState('ESTABLISHED');
    rig.send(3 * MSS);
    rig.peer.readAll();
    rig.waitForFrame();
    rig.peer.readAll();
    rig.send(1000);
    rig.peer.expectsNothing();
    ack(rig, 1 + 3 * MSS);
    rig.peer.expects(`P. ${1 + 3 * MSS}:${1001 + 3 * MSS}(1000) ack 1`);
  });

  for (const family of [4, 6] as const) {
    for (const capabilities of [FULL_OFFLOAD, NO_OFFLOAD]) {
      const device = capabilities.vnetHeader ? 'with' : 'without';
      test(`IPv${family}, ${device} offloads: the bytes before a segment of a slab stay`, () => {
        const rig = inState('ESTABLISHED', { family, capabilities });
        const mss = rig.tcb.mss;
        rig.send(9 * mss);
        rig.peer.readAll();
        rig.waitForFrame();
        rig.peer.readAll();
        ack(rig, 1 + mss);
        rig.peer.readAll();
        // The third segment is in flight unacknowledged while the fourth gets its header, which
        // lies where the third one ends.
        ack(rig, 1 + 2 * mss);
        expect(sentRanges(rig)[0]).toStartWith(`${1 + 3 * mss}-`);
        // It was lost, and comes again; the peer compares every byte.
        rig.waitForFrame();
        expect(sentRanges(rig)).toEqual([`${1 + 2 * mss}-${1 + 3 * mss}`]);
      });
    }
  }

  test('waits double, from 200 ms to a minute', () => {
    const rig = inState('ESTABLISHED');
    rig.send(100);
    rig.peer.readAll();
    const waits: number[] = [];
    for (let i = 0; i < 12; i++) {
      waits.push(Math.round(rig.waitForFrame() / 100) / 10);
      rig.peer.readAll();
    }
    expect(waits).toEqual([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60, 60]);
  });

  test('after fifteen of them the connection is given up', () => {
    const rig = inState('ESTABLISHED');
    rig.send(100);
    rig.peer.readAll();
    for (let i = 0; i < 15; i++) {
      rig.waitForFrame();
      rig.peer.expects('P. 1:101(100) ack 1');
    }
    rig.waitForFrame();
    rig.peer.expects('R. 101:101(0) ack 1');
    expect(rig.flow.calls.at(-1)).toBe('closed retransmit-limit by client');
    rig.expectEmpty();
  });

  test('an answer of the client starts the count again: it lives', () => {
    const rig = inState('ESTABLISHED');
    rig.send(100);
    rig.peer.readAll();
    for (let i = 0; i < 40; i++) {
      rig.waitForFrame();
      rig.peer.expects('P. 1:101(100) ack 1');
      ack(rig, 1);
    }
    expect(rig.state).toBe('ESTABLISHED');
  });

  test('a frame that the device refused is sent again', () => {
    const rig = inState('ESTABLISHED');
    rig.device.isRefusing = true;
    rig.send(1000);
    rig.device.isRefusing = false;
    expect(rig.drops).toEqual({ 'device-write-failed': 1 });
    rig.waitForFrame();
    rig.peer.expects('P. 1:1001(1000) ack 1');
  });
});

describe('FIN', () => {
  for (const state of ['FIN-WAIT-1', 'CLOSING', 'LAST-ACK'] as const) {
    test(`${state}: a lost FIN is sent again`, () => {
      const rig = inState(state);
      rig.waitForFrame();
      const { flags } = rig.peer.expects('F. 1:1(0)');
      expect(flags).toBe(0x11);
    });
  }

  test('behind lost data comes after the data', () => {
    const rig = inState('ESTABLISHED');
    rig.send(100);
    rig.close();
    rig.peer.readAll();
    rig.waitForFrame();
    rig.peer.expects('P. 1:101(100) ack 1');
    ack(rig, 101);
    rig.peer.expects('F. 101:101(0) ack 1');
    ack(rig, 102);
    expect(rig.state).toBe('FIN-WAIT-2');
  });

  test('that went out while data was sent again is not forgotten', () => {
    const rig = inState('ESTABLISHED');
    rig.send(3 * MSS);
    rig.peer.readAll();
    rig.waitForFrame();
    rig.peer.readAll();
    rig.close();
    // Lost as well.
    rig.peer.readAll();
    ack(rig, 1 + 3 * MSS);
    rig.waitForFrame();
    rig.peer.expects(`F. ${1 + 3 * MSS}:${1 + 3 * MSS}(0) ack 1`);
  });
});

describe('SYN-ACK', () => {
  test('is sent again after 1, 2, 4, 8 and 16 s, and then the client is given up', () => {
    const rig = inState('SYN-RECEIVED');
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      waits.push(Math.round(rig.waitForFrame() / 1000));
      rig.peer.expects('S. 0:0(0) ack 1');
    }
    expect(waits).toEqual([1, 2, 4, 8, 16]);
    expect(Math.round(rig.waitForFrame() / 1000)).toBe(32);
    rig.peer.expects('R. 1:1(0) ack 1');
    expect(rig.flow.calls).toEqual(['syn', 'closed handshake-timeout by client']);
    rig.expectEmpty();
  });
});

describe('fast retransmit and NewReno (RFC 5681, RFC 6582)', () => {
  /** Eight segments in flight, one frame each; the last quarter of the window waits for more. */
  function eightInFlight(): TcpRig {
    const rig = inState('ESTABLISHED');
    for (let i = 0; i < 8; i++) rig.send(MSS);
    expect(sentRanges(rig)).toHaveLength(8);
    return rig;
  }

  test('three duplicate ACKs send the oldest segment again, two do not', () => {
    const rig = eightInFlight();
    duplicate(rig, 1, 2);
    rig.peer.expectsNothing();
    duplicate(rig, 1, 1);
    rig.peer.expects(`P. 1:${1 + MSS}(${MSS}) ack 1`);
    expect(rig.counters.get(Counter.TCP_FAST_RETRANSMITS)).toBe(1);
    expect(rig.tcb.ssthresh).toBe(4 * MSS);
    expect(rig.tcb.cwnd).toBe(7 * MSS);
  });

  test('it happens once for a window: more duplicates send new data only', () => {
    const rig = eightInFlight();
    duplicate(rig, 1, 3);
    rig.peer.readAll();
    rig.send(3 * MSS);
    rig.peer.expectsNothing();
    duplicate(rig, 1, 6);
    const packet = (index: number) => `${1 + index * MSS}-${1 + (index + 1) * MSS}`;
    expect(sentRanges(rig)).toEqual([packet(8), packet(9), packet(10)]);
    expect(rig.counters.get(Counter.TCP_FAST_RETRANSMITS)).toBe(1);
  });

  test('a partial ACK sends the next hole again, a full one ends the recovery', () => {
    const rig = eightInFlight();
    duplicate(rig, 1, 5);
    rig.peer.readAll();
    ack(rig, 1 + 4 * MSS);
    rig.peer.expects(`P. ${1 + 4 * MSS}:${1 + 5 * MSS}(${MSS}) ack 1`);
    ack(rig, 1 + 7 * MSS);
    rig.peer.expects(`P. ${1 + 7 * MSS}:${1 + 8 * MSS}(${MSS}) ack 1`);
    ack(rig, 1 + 8 * MSS);
    rig.peer.expectsNothing();
    expect(rig.tcb.cwnd).toBeLessThanOrEqual(4 * MSS);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('an ACK that changes the window, or carries data, is no duplicate', () => {
    const rig = eightInFlight();
    ack(rig, 1, 500);
    ack(rig, 1, 501);
    ack(rig, 1, 502);
    for (let i = 0; i < 3; i++) {
      rig.peer.sends(`P. ${1 + 10 * i}:${11 + 10 * i}(10) ack 1 win 502`);
    }
    expect(rig.tcb.dupAcks).toBe(0);
    expect(rig.counters.get(Counter.TCP_FAST_RETRANSMITS)).toBe(0);
  });

  test('duplicates with nothing in flight mean nothing', () => {
    const rig = inState('ESTABLISHED');
    duplicate(rig, 1, 5);
    rig.peer.expectsNothing();
    expect(rig.tcb.dupAcks).toBe(0);
  });

  test('duplicates of what a timeout sent again start no fast retransmit', () => {
    const rig = eightInFlight();
    rig.waitForFrame();
    rig.peer.readAll();
    duplicate(rig, 1, 5);
    rig.peer.expectsNothing();
    ack(rig, 1 + 7 * MSS);
    expect(sentRanges(rig)).toEqual([`${1 + 7 * MSS}-${1 + 8 * MSS}`]);
    expect(rig.counters.get(Counter.TCP_FAST_RETRANSMITS)).toBe(0);
  });

  test('a timeout in fast recovery starts over from the oldest byte', () => {
    const rig = eightInFlight();
    duplicate(rig, 1, 3);
    rig.peer.readAll();
    rig.waitForFrame();
    expect(sentRanges(rig)).toEqual([`1-${1 + MSS}`]);
    expect(rig.tcb.cwnd).toBe(MSS);
  });
});

describe('limited transmit (RFC 3042)', () => {
  /** Three packets in flight, a window of three, and more to send. */
  function smallWindow(): TcpRig {
    const rig = inState('ESTABLISHED');
    rig.tcb.cwnd = 3 * MSS;
    rig.send(20 * MSS);
    expect(sentRanges(rig)).toEqual([`1-${1 + 3 * MSS}`]);
    return rig;
  }

  test('each of the first two duplicates lets one new segment out', () => {
    const rig = smallWindow();
    duplicate(rig, 1, 1);
    expect(sentRanges(rig)).toEqual([`${1 + 3 * MSS}-${1 + 4 * MSS}`]);
    duplicate(rig, 1, 1);
    expect(sentRanges(rig)).toEqual([`${1 + 4 * MSS}-${1 + 5 * MSS}`]);
    expect(rig.tcb.cwnd).toBe(3 * MSS);
  });

  test('so that the third starts the fast retransmit; the threshold leaves them out', () => {
    const rig = smallWindow();
    duplicate(rig, 1, 3);
    expect(sentRanges(rig)).toContain(`1-${1 + MSS}`);
    expect(rig.tcb.ssthresh).toBe(2 * MSS);
    expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(0);
  });

  test('the window of the peer is kept', () => {
    const rig = inState('ESTABLISHED');
    ack(rig, 1, 34);
    rig.send(20 * MSS);
    const sent = sentRanges(rig);
    for (let i = 0; i < 2; i++) ack(rig, 1, 34);
    expect(sentRanges(rig)).toEqual([]);
    expect(sent.length).toBeGreaterThan(0);
  });
});
