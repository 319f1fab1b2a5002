/** SYNs that wait for a verdict, and segments that belong to nobody. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { Counter } from '../../src/stack/counters.ts';
import { ClosedBy, FlowField, readFlowRow } from '../../src/stack/flow-row.ts';
import { IcmpErrorKind } from '../../src/stack/icmp-error-kind.ts';
import type { EndingReject } from '../../src/stack/verdict.ts';
import { parseIcmpError } from '../support/icmp-error.ts';
import { tcpPacket } from '../support/packet-builder.ts';
import { TcpRig } from '../support/tcp-rig.ts';
import { inState } from '../support/tcp-states.ts';

const FAMILIES = [4, 6] as const;
const SYN = 0x02;

function reject(rig: TcpRig, how: EndingReject, code: IcmpErrorKind = IcmpErrorKind.PORT): void {
  rig.stack.reject(rig.row, how, code, CloseReason.REJECTED, ClosedBy.SCRIPT, rig.now);
}

/** A SYN from `source`, or of the rig's family. */
const syn = (port: number, source: string) =>
  tcpPacket({
    source,
    destination: source.includes(':') ? 'fd00::80' : '198.18.0.80',
    sourcePort: port,
    destinationPort: 443,
    flags: SYN,
    seq: port,
  });

describe('a held SYN', () => {
  for (const family of FAMILIES) {
    test(`IPv${family}: its row tells who asks for what`, () => {
      const rig = inState('LISTEN', { family });
      const flow = readFlowRow(rig.stack.arena.view, rig.stack.rowAt(rig.row));
      expect(flow).toMatchObject({
        serial: 1,
        protocol: 'tcp',
        phase: 'deciding',
        tcpState: 'LISTEN',
        source: { ip: rig.peer.options.address, port: 40_000, family },
        destination: { ip: rig.peer.options.serverAddress, port: 443, family },
        packetsUp: 1,
      });
      expect(rig.tcb.synMss).toBe(1460);
      expect(rig.tcb.sndScale).toBe(7);
      expect(rig.stack.arena.view.getUint8(rig.tcb.flowAt + FlowField.SYN_HOP_LIMIT)).toBe(64);
    });
  }

  test('is shown to the owner once, and absorbed when it is repeated', () => {
    const rig = inState('LISTEN');
    for (let i = 0; i < 3; i++) rig.peer.sends(rig.synLine);
    rig.peer.expectsNothing();
    expect(rig.flow.calls).toEqual(['syn']);
    expect(rig.drops).toEqual({ 'held-syn-repeated': 3 });
  });

  test('is answered once, however often it came', () => {
    const rig = inState('LISTEN');
    rig.peer.sends(rig.synLine);
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.expectsNothing();
  });

  test('of a client that started again is the one that is answered', () => {
    const rig = inState('LISTEN');
    const again = rig.newPeer({ iss: 77 });
    again.sends('S 0:0(0) win 1024 <mss 700>');
    rig.accept();
    again.expects('S. 0:0(0) ack 1 <mss 1460>');
    expect(rig.tcb.synMss).toBe(700);
  });

  test('with data loses the data, and the client sends it again', () => {
    const rig = new TcpRig();
    rig.peer.sends('S 0:100(100) win 1024 <mss 1460>');
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    expect(rig.flow.received).toBe(100);
  });

  for (const seq of [0, 1]) {
    test(`is gone when the client resets with sequence number ${seq}`, () => {
      const rig = inState('LISTEN');
      rig.peer.sends(`R ${seq}:${seq}(0)`);
      rig.peer.expectsNothing();
      expect(rig.flow.calls).toEqual(['syn', 'closed client-gone by client']);
      rig.expectEmpty();
    });
  }

  test('gives its place back when it is rejected, and when the client is there', () => {
    const rig = inState('LISTEN');
    expect(rig.counters.get(Counter.HELD_SYNS_NOW)).toBe(1);
    rig.accept();
    // Until the client has proved itself it counts: it may be spoofed.
    expect(rig.counters.get(Counter.HELD_SYNS_NOW)).toBe(1);
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(rig.counters.get(Counter.HELD_SYNS_NOW)).toBe(0);
    const other = rig.newPeer({ port: 40_001 });
    rig.owner.reactions.syn = () => {};
    other.sends(rig.synLine);
    reject(rig, 'drop');
    expect(rig.counters.get(Counter.HELD_SYNS_NOW)).toBe(0);
  });
});

describe('reject', () => {
  for (const family of FAMILIES) {
    test(`IPv${family}: with RST, which the client in SYN-SENT believes`, () => {
      const rig = inState('LISTEN', { family });
      reject(rig, 'rst');
      rig.peer.expects('R. 0:0(0) ack 1 win 0 <>');
      expect(rig.peer.last.seq).toBe(0);
      expect(rig.flow.calls).toEqual(['syn', 'closed rejected by script']);
      rig.expectEmpty();
    });

    const codes = family === 4 ? [3, 1, 0, 13] : [4, 3, 0, 1];
    const { PORT, HOST, NETWORK, PROHIBITED } = IcmpErrorKind;
    for (const [name, code] of Object.entries({ PORT, HOST, NETWORK, PROHIBITED })) {
      test(`IPv${family}: with ICMP ${name}, which quotes the SYN`, () => {
        const rig = inState('LISTEN', { family });
        reject(rig, 'icmp', code);
        const { address, serverAddress } = rig.peer.options;
        const error = parseIcmpError(rig.frames.shift()!.packet);
        expect(error).toEqual({
          source: serverAddress,
          destination: address,
          type: family === 4 ? 3 : 1,
          code: codes[code]!,
          quoted: {
            source: address,
            destination: serverAddress,
            sourcePort: 40_000,
            destinationPort: 443,
            seq: rig.peer.options.iss,
            flags: SYN,
          },
        });
        expect(rig.counters.get(Counter.ICMP_SENT)).toBe(1);
        rig.expectEmpty();
      });
    }

    test(`IPv${family}: with drop, which says nothing and is counted`, () => {
      const rig = inState('LISTEN', { family });
      reject(rig, 'drop');
      expect(rig.frames).toEqual([]);
      expect(rig.drops).toEqual({ 'verdict-drop': 1 });
      expect(rig.counters.closed(CloseReason.REJECTED)).toBe(1);
      rig.expectEmpty();
    });
  }

  test('may be the answer inside onFlow', () => {
    const rig = new TcpRig();
    rig.owner.reactions.syn = () => reject(rig, 'rst');
    rig.peer.sends(rig.synLine);
    rig.peer.expects('R. 0:0(0) ack 1');
    rig.expectEmpty();
  });

  test('ICMP errors are limited in rate, and the flood ends with counted drops', () => {
    const rig = new TcpRig({ limits: { heldSynsPerSource: 1000, heldSyns: 1000 } });
    rig.owner.reactions.syn = () => reject(rig, 'icmp');
    for (let port = 1; port <= 60; port++) rig.deliver(syn(port, '198.18.0.9'));
    expect(rig.frames).toHaveLength(50);
    expect(rig.drops).toEqual({ 'icmp-rate-limit': 10 });
  });

  test('time earns new ICMP errors though no packet comes', () => {
    const rig = new TcpRig({ limits: { heldSynsPerSource: 1000, heldSyns: 1000 } });
    for (let port = 1; port <= 60; port++) rig.deliver(syn(port, '198.18.0.9'));
    for (const { row } of rig.owner.flows.slice(0, 50)) {
      rig.stack.reject(row, 'icmp', 0, CloseReason.REJECTED, ClosedBy.SCRIPT, rig.now);
    }
    rig.clock.advance(100_000);
    for (const { row } of rig.owner.flows.slice(50)) {
      rig.stack.reject(row, 'icmp', 0, CloseReason.REJECTED, ClosedBy.SCRIPT, rig.now);
    }
    expect(rig.frames).toHaveLength(60);
  });
});

describe('limits', () => {
  test('held SYNs are bounded in all', () => {
    const rig = new TcpRig({ limits: { heldSyns: 3 } });
    for (let i = 1; i <= 5; i++) rig.deliver(syn(1000 + i, `198.18.1.${i}`));
    expect(rig.owner.flows).toHaveLength(3);
    expect(rig.drops).toEqual({ 'held-syn-limit': 2 });
    expect(rig.frames).toEqual([]);
  });

  test('one source cannot hold all of them', () => {
    const rig = new TcpRig({ limits: { heldSyns: 10, heldSynsPerSource: 2 } });
    for (let port = 1; port <= 5; port++) rig.deliver(syn(port, '198.18.1.1'));
    rig.deliver(syn(1, '198.18.1.2'));
    expect(rig.owner.flows).toHaveLength(3);
    expect(rig.drops).toEqual({ 'held-syn-source-limit': 3 });
  });

  test('an IPv6 source is a /64', () => {
    const rig = new TcpRig({ family: 6, limits: { heldSyns: 10, heldSynsPerSource: 2 } });
    for (let i = 1; i <= 4; i++) rig.deliver(syn(i, `fd00:0:0:7::${i}`));
    rig.deliver(syn(1, 'fd00:0:0:8::1'));
    expect(rig.owner.flows).toHaveLength(3);
    expect(rig.drops).toEqual({ 'held-syn-source-limit': 2 });
  });

  test('one source cannot have all connections, open ones included', () => {
    const rig = new TcpRig({ limits: { flowsPerSource: 2 } });
    rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
    for (let port = 1; port <= 5; port++) rig.deliver(syn(port, '198.18.1.1'));
    rig.deliver(syn(1, '198.18.1.2'));
    expect(rig.owner.flows).toHaveLength(3);
    expect(rig.drops).toEqual({ 'flow-source-limit': 3 });
  });

  test('of connections an IPv6 source is a /64', () => {
    const rig = new TcpRig({ family: 6, limits: { flowsPerSource: 2 } });
    for (let i = 1; i <= 4; i++) rig.deliver(syn(i, `fd00:0:0:7::${i}`));
    rig.deliver(syn(1, 'fd00:0:0:8::1'));
    expect(rig.owner.flows).toHaveLength(3);
    expect(rig.drops).toEqual({ 'flow-source-limit': 2 });
  });

  test('a connection that ends, or is rewritten instead, makes room for the next', () => {
    const rig = new TcpRig({ limits: { flowsPerSource: 1 } });
    rig.deliver(syn(1, '198.18.1.1'));
    reject(rig, 'drop');
    rig.deliver(syn(2, '198.18.1.1'));
    expect(rig.stack.nat(rig.row, false, rig.now)).toBe(CloseReason.NONE);
    rig.deliver(syn(3, '198.18.1.1'));
    expect(rig.owner.flows).toHaveLength(3);
    rig.stack.abort(rig.row, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
    rig.deliver(syn(4, '198.18.1.1'));
    expect(rig.owner.flows).toHaveLength(4);
    expect(rig.drops['flow-source-limit']).toBeUndefined();
  });

  test('a connection in TIME-WAIT does not count, and counts once when it is opened anew', () => {
    const rig = inState('TIME-WAIT', { limits: { flowsPerSource: 1 } });
    const other = rig.newPeer({ port: 40_001 });
    rig.owner.reactions.syn = () => {};
    other.sends(rig.synLine);
    expect(rig.drops).toEqual({});
    reject(rig, 'drop');
    rig.clock.advance(61_000_000);
    rig.stack.expire(rig.now);
    rig.deliver(syn(1, rig.peer.options.address));
    rig.deliver(syn(2, rig.peer.options.address));
    expect(rig.drops).toEqual({ 'verdict-drop': 1, 'flow-source-limit': 1 });
  });

  test('a full flow table refuses new flows, and takes them again when one ends', () => {
    const rig = new TcpRig({ limits: { flows: 2 } });
    for (let port = 1; port <= 3; port++) rig.deliver(syn(port, '198.18.1.1'));
    expect(rig.owner.flows).toHaveLength(2);
    expect(rig.drops).toEqual({ 'flow-table-full': 1 });
    reject(rig, 'drop');
    rig.deliver(syn(3, '198.18.1.1'));
    expect(rig.owner.flows).toHaveLength(3);
  });

  test('a full flow table takes the row of the oldest connection in TIME-WAIT', () => {
    const rig = inState('TIME-WAIT', { limits: { flows: 1 } });
    rig.owner.reactions.syn = () => {};
    rig.deliver(syn(1, '198.18.1.1'));
    expect(rig.state).toBe('LISTEN');
    expect(rig.counters.get(Counter.TIME_WAIT_NOW)).toBe(0);
    expect(rig.counters.get(Counter.FLOWS_NOW)).toBe(1);
  });

  test('a drain refuses new flows and leaves the old ones alone', () => {
    const rig = inState('ESTABLISHED');
    rig.stack.drain();
    const other = rig.newPeer({ port: 40_001 });
    other.sends(rig.synLine);
    other.expects('R. 0:0(0) ack 1');
    expect(rig.drops).toEqual({ draining: 1 });
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    expect(rig.flow.received).toBe(100);
  });
});

describe('a segment that belongs to no flow (RFC 9293 §3.10.7.1)', () => {
  for (const family of FAMILIES) {
    test(`IPv${family}: with ACK is reset at its acknowledgment number`, () => {
      const rig = new TcpRig({ family });
      rig.peer.sends('P. 50:150(100) ack 4000 win 512');
      rig.peer.expects('R 4000:4000(0) win 0');
      expect(rig.drops).toEqual({ 'no-flow': 1 });
    });

    test(`IPv${family}: without ACK is reset with an ACK of all its numbers`, () => {
      const rig = new TcpRig({ family });
      rig.peer.sends('F 50:150(100) win 512');
      rig.peer.expects('R. 0:0(0) ack 151 win 0');
    });

    test(`IPv${family}: a reset is never answered`, () => {
      const rig = new TcpRig({ family });
      rig.peer.sends('R 50:50(0)');
      rig.peer.sends('R. 50:50(0) ack 7');
      expect(rig.frames).toEqual([]);
    });

    test(`IPv${family}: a SYN-ACK is reset`, () => {
      const rig = new TcpRig({ family });
      rig.peer.sends('S. 50:50(0) ack 9 win 512');
      rig.peer.expects('R 9:9(0)');
    });
  }
});

describe('initial sequence numbers (RFC 6528)', () => {
  const issOf = (rig: TcpRig) => {
    rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
    rig.peer.sends(rig.synLine);
    rig.peer.read();
    return rig.peer.serverIss;
  };

  test('grow by one in 4 microseconds for the same pair of sockets', () => {
    const rig = new TcpRig();
    const first = issOf(rig);
    rig.peer.sends('R 1:1(0)');
    rig.clock.advance(40_000);
    expect((issOf(rig) - first) >>> 0).toBe(10_000);
  });

  test('differ from one pair of sockets to the next', () => {
    const rig = new TcpRig();
    const first = issOf(rig);
    const other = rig.newPeer({ port: 40_001 });
    other.sends(rig.synLine);
    other.read();
    expect(Math.abs((other.serverIss - first) | 0)).toBeGreaterThan(1000);
  });
});
