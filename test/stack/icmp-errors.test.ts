/** ICMP errors that arrive: who is believed, and what follows. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../src/stack/counters.ts';
import { icmpPacket, tcpPacket } from '../support/packet-builder.ts';
import type { TcpRig } from '../support/tcp-rig.ts';
import { inState } from '../support/tcp-states.ts';

const FAMILIES = [4, 6] as const;
/** Type and code of the errors that the tests send, by family. */
const ERRORS = {
  4: {
    tooBig: [3, 4],
    port: [3, 3],
    host: [3, 1],
    network: [3, 0],
    prohibited: [3, 13],
    timeExceeded: [11, 0],
    parameterProblem: [12, 0],
  },
  6: {
    tooBig: [2, 0],
    port: [1, 4],
    host: [1, 3],
    network: [1, 0],
    prohibited: [1, 1],
    timeExceeded: [3, 0],
    // "Unrecognized next header": what IPv6 has for an unreachable protocol.
    parameterProblem: [4, 1],
  },
} as const;
type ErrorName = keyof (typeof ERRORS)[4];

interface Quote {
  /** Relative to the stack's initial sequence number. */
  readonly seq?: number;
  readonly length?: number;
  readonly clientPort?: number;
  /** Where the error goes; the sender of the quoted packet by default. */
  readonly to?: string;
  /** Bytes of the quoted packet that are there. */
  readonly cut?: number;
}

/** An error of some router about a segment of `length` bytes that the stack sent. */
function sendError(rig: TcpRig, name: ErrorName, mtu = 0, quote: Quote = {}): void {
  const { address, port, serverAddress, serverPort } = rig.peer.options;
  const quoted = tcpPacket({
    source: serverAddress,
    destination: address,
    sourcePort: serverPort,
    destinationPort: quote.clientPort ?? port,
    seq: (rig.peer.serverIss + (quote.seq ?? 1)) >>> 0,
    payload: new Uint8Array(quote.length ?? 1460),
  });
  const [type, code] = ERRORS[address.includes(':') ? 6 : 4][name];
  rig.deliver(
    icmpPacket({
      source: address.includes(':') ? 'fd00::fe' : '198.18.0.254',
      destination: quote.to ?? serverAddress,
      type,
      code,
      rest: mtu,
      payload: quoted.slice(0, quote.cut ?? 100),
    }),
  );
}

/** A connection with 10,000 bytes in flight that the peer has not read. */
function inFlight(family: 4 | 6, timestamps = false, sack = false): TcpRig {
  const rig = inState('ESTABLISHED', { family, timestamps, sack });
  rig.send(10_000);
  rig.frames.length = 0;
  return rig;
}

for (const family of FAMILIES) {
  const headers = family === 4 ? 40 : 60;

  describe(`IPv${family}: too big`, () => {
    test('makes segments shorter and sends what is in flight again', () => {
      const rig = inFlight(family);
      sendError(rig, 'tooBig', 1300);
      const again = rig.peer.read()!;
      expect(rig.peer.relative(again)).toBe(1);
      const bytes = rig.peer.readAll().reduce((sum, { payload }) => sum + payload.length, 0);
      expect(again.payload.length + bytes).toBe(10_000);
      expect(again.gsoSize).toBe(1300 - headers);
      expect(rig.tcb.mss).toBe(1300 - headers);
      expect(rig.counters.get(Counter.PATH_MTU_LOWERED)).toBe(1);
    });

    test('leaves the congestion window as it is (RFC 1191 §6.4)', () => {
      const rig = inFlight(family);
      const { cwnd } = rig.tcb;
      sendError(rig, 'tooBig', 1300);
      expect(rig.tcb.cwnd).toBe(cwnd);
    });

    test('with SACK, all goes again though the window is small, and what arrived does not', () => {
      const rig = inFlight(family, false, true);
      rig.peer.sends(`. 1:1(0) ack 1 win 512 <nop,nop,sack 7301:10001>`);
      rig.frames.length = 0;
      rig.tcb.cwnd = 2000;
      sendError(rig, 'tooBig', 1300);
      const seen: number[] = [];
      for (let turn = 0; turn < 20 && rig.tcb.flightSize > 0; turn++) {
        const segments = rig.peer.readAll();
        seen.push(...segments.map((segment) => rig.peer.relative(segment)));
        const last = segments.at(-1);
        if (last === undefined) break;
        const end = rig.peer.relative(last) + last.payload.length;
        rig.clock.advance(10_000);
        rig.peer.sends(`. 1:1(0) ack ${end > 7000 ? 10_001 : end} win 512`);
      }
      expect(rig.tcb.flightSize).toBe(0);
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
      expect(Math.max(...seen)).toBeLessThan(7301);
      expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(0);
    });

    test('leaves room for the timestamps of each segment', () => {
      const rig = inFlight(family, true);
      sendError(rig, 'tooBig', 1300);
      expect(rig.tcb.mss).toBe(1300 - headers - 12);
    });

    test('the stream goes on after it', () => {
      const rig = inFlight(family);
      sendError(rig, 'tooBig', 1300);
      rig.peer.readAll();
      rig.peer.sends('. 1:1(0) ack 10001 win 512');
      rig.send(3000);
      const next = rig.peer.read()!;
      expect(rig.peer.relative(next)).toBe(10_001);
      expect(next.gsoSize).toBe(1300 - headers);
    });

    test('is answered once, though every packet of the flight draws an error', () => {
      const rig = inFlight(family);
      sendError(rig, 'tooBig', 1300);
      rig.frames.length = 0;
      for (const seq of [1461, 2921]) sendError(rig, 'tooBig', 1300, { seq });
      expect(rig.frames).toEqual([]);
    });

    test('is remembered for the next flow of the client, for ten minutes', () => {
      const rig = inFlight(family);
      const { mss } = rig.tcb;
      sendError(rig, 'tooBig', 1300);
      const later = () => {
        rig.frames.length = 0;
        const peer = rig.newPeer({ port: 40_001 + rig.owner.flows.length });
        rig.connect(peer);
        rig.send(10_000);
        return peer.read()!.gsoSize;
      };
      expect(later()).toBe(1300 - headers);
      rig.clock.advance(599_000_000);
      expect(later()).toBe(1300 - headers);
      rig.clock.advance(1_000_000);
      expect(later()).toBe(mss);
    });

    test('says nothing of what we take: the MSS of a SYN-ACK is that of the device', () => {
      const rig = inFlight(family);
      const { mss } = rig.tcb;
      sendError(rig, 'tooBig', 1300);
      rig.frames.length = 0;
      const peer = rig.newPeer({ port: 40_001 });
      peer.sends(rig.synLine);
      expect(peer.read()!.options).toContain(`mss ${mss}`);
    });

    test('of another client says nothing of this one', () => {
      const rig = inFlight(family);
      const { mss } = rig.tcb;
      sendError(rig, 'tooBig', 1300);
      rig.frames.length = 0;
      rig.connect(rig.newPeer({ address: family === 4 ? '198.18.0.2' : 'fd00::2' }));
      expect(rig.tcb.mss).toBe(mss);
    });

    if (family === 4) {
      for (const mtu of [0, 68, 500]) {
        test(`an MTU of ${mtu} is taken for the least that a path must carry`, () => {
          const rig = inFlight(family);
          sendError(rig, 'tooBig', mtu);
          expect(rig.tcb.mss).toBe(536);
        });
      }
    } else {
      for (const mtu of [0, 68, 1279]) {
        test(`an MTU of ${mtu} is discarded: no path is so narrow (RFC 8201 §4)`, () => {
          const rig = inFlight(family);
          sendError(rig, 'tooBig', mtu);
          expect(rig.tcb.mss).toBe(1440);
          expect(rig.frames).toEqual([]);
          expect(rig.drops).toEqual({ 'bad-icmp-header': 1 });
        });
      }

      test('an MTU of 1280 is the least that is believed', () => {
        const rig = inFlight(family);
        sendError(rig, 'tooBig', 1280);
        expect(rig.tcb.mss).toBe(1220);
      });
    }

    test('about a packet that would have fitted is nothing', () => {
      const rig = inFlight(family);
      sendError(rig, 'tooBig', 1300, { length: 500 });
      expect(rig.frames).toEqual([]);
    });

    test('never makes segments longer', () => {
      const rig = inFlight(family);
      sendError(rig, 'tooBig', 1300);
      rig.frames.length = 0;
      sendError(rig, 'tooBig', 1400);
      expect(rig.tcb.mss).toBe(1300 - headers);
      expect(rig.frames).toEqual([]);
    });
  });

  describe(`IPv${family}: unreachable`, () => {
    test('ends a handshake', () => {
      const rig = inState('SYN-RECEIVED', { family });
      sendError(rig, 'host', 0, { seq: 0, length: 0 });
      expect(rig.flow.calls).toEqual(['syn', 'closed client-unreachable by client']);
      rig.expectEmpty();
    });

    for (const name of ['port', 'host', 'timeExceeded'] as const) {
      test(`(${name}) is a rumour once the connection stands (RFC 5461)`, () => {
        const rig = inFlight(family);
        sendError(rig, name);
        expect(rig.state).toBe('ESTABLISHED');
        expect(rig.frames).toEqual([]);
        expect(rig.counters.get(Counter.ICMP_ERRORS_MATCHED)).toBe(1);
      });
    }
  });

  describe(`IPv${family}: about a SYN of ours`, () => {
    const SOFT = ['host', 'network', 'prohibited', 'timeExceeded', 'parameterProblem'] as const;
    const syn = { seq: 0, length: 0 };

    for (const state of ['SYN-SENT', 'crossed'] as const) {
      const dialing = (): TcpRig => {
        const rig = inState('SYN-SENT', { family });
        if (state === 'SYN-SENT') return rig;
        rig.peer.sends(rig.synLine);
        rig.peer.expects('S. 0:0(0) ack 1');
        return rig;
      };

      test(`${state}: an unreachable port refuses the dial`, () => {
        const rig = dialing();
        sendError(rig, 'port', 0, syn);
        expect(rig.flow.calls).toEqual(['closed dial-refused by upstream']);
        rig.expectEmpty();
      });

      for (const name of SOFT) {
        test(`${state}: a soft error (${name}) tells why, when nobody answers`, () => {
          const rig = dialing();
          sendError(rig, name, 0, syn);
          expect(rig.flow.calls).toEqual([]);
          rig.wait(245_000);
          rig.frames.length = 0;
          expect(rig.flow.calls).toEqual(['closed dial-unreachable by upstream']);
          rig.expectEmpty();
        });
      }
    }

    test('a soft error is forgotten when the answer comes', () => {
      const rig = inState('SYN-SENT', { family });
      sendError(rig, 'host', 0, syn);
      rig.peer.sends(rig.synAckLine);
      rig.peer.expects('. 1:1(0) ack 1');
      expect(rig.flow.calls).toEqual(['connected']);
    });

    test('a soft error tells why at the deadline, too', () => {
      const rig = inState('CLOSED', { family });
      rig.dial(rig.peer, { deadline: rig.clock.in(100) });
      rig.peer.expects('S 0:0(0)');
      sendError(rig, 'network', 0, syn);
      rig.wait(105);
      expect(rig.flow.calls).toEqual(['closed dial-unreachable by upstream']);
    });

    test('"too big" says nothing: every path takes a SYN', () => {
      const rig = inState('SYN-SENT', { family });
      sendError(rig, 'tooBig', 30, { seq: 0, length: 20 });
      rig.wait(245_000);
      expect(rig.flow.calls).toEqual(['closed dial-timeout by upstream']);
    });

    test('of another number is not believed (RFC 5927 §4.1)', () => {
      const rig = inState('SYN-SENT', { family });
      for (const seq of [-1, 1]) sendError(rig, 'port', 0, { seq, length: 0 });
      expect(rig.state).toBe('SYN-SENT');
      expect(rig.drops).toEqual({ 'icmp-unmatched': 2 });
    });

    test('an unreachable port is a rumour once the connection stands', () => {
      const rig = inState('SYN-SENT', { family });
      rig.peer.sends(rig.synAckLine);
      rig.peer.expects('. 1:1(0) ack 1');
      rig.send(100);
      rig.peer.expects('P. 1:101(100) ack 1');
      sendError(rig, 'port', 0, { seq: 1, length: 100 });
      expect(rig.state).toBe('ESTABLISHED');
    });
  });

  describe(`IPv${family}: an error is not believed`, () => {
    const forged: Readonly<Record<string, Quote>> = {
      'when what it quotes was acknowledged (RFC 5927 §4.1)': { seq: 0 },
      'when what it quotes was never sent': { seq: 10_001 },
      'about another flow': { clientPort: 40_001 },
    };
    for (const [what, quote] of Object.entries(forged)) {
      test(what, () => {
        const rig = inFlight(family);
        sendError(rig, 'tooBig', 1300, quote);
        expect(rig.frames).toEqual([]);
        expect(rig.drops).toEqual({ 'icmp-unmatched': 1 });
      });
    }

    const useless: Readonly<Record<string, Quote>> = {
      'that quotes too little': { cut: family === 4 ? 27 : 47 },
      'that goes to another than the sender': {
        to: family === 4 ? '198.18.0.81' : 'fd00::81',
      },
    };
    for (const [what, quote] of Object.entries(useless)) {
      test(what, () => {
        const rig = inFlight(family);
        sendError(rig, 'tooBig', 1300, quote);
        expect(rig.frames).toEqual([]);
        expect(rig.drops).toEqual({ 'bad-icmp-quote': 1 });
      });
    }

    test('while the SYN is held', () => {
      const rig = inState('LISTEN', { family });
      const { address, port, serverAddress, serverPort } = rig.peer.options;
      const quoted = tcpPacket({
        source: serverAddress,
        destination: address,
        sourcePort: serverPort,
        destinationPort: port,
      });
      const [type, code] = ERRORS[family].host;
      rig.deliver(
        icmpPacket({ source: address, destination: serverAddress, type, code, payload: quoted }),
      );
      expect(rig.drops).toEqual({ 'icmp-unmatched': 1 });
      expect(rig.flow.calls).toEqual(['syn']);
    });
  });

  test(`IPv${family}: a SYN with a hop limit of 1 has reached its destination`, () => {
    const rig = inState('CLOSED', { family });
    const { address, serverAddress } = rig.peer.options;
    rig.deliver(tcpPacket({ source: address, destination: serverAddress, flags: 0x02, ttl: 1 }));
    expect(rig.flow.calls).toEqual(['syn']);
  });
}

/** An ICMP error of the peer about the stack's own SYN. */
function quoteSyn(rig: TcpRig, type: number, code: number): void {
  const { address, port, serverAddress, serverPort } = rig.peer.options;
  const quoted = tcpPacket({
    source: serverAddress,
    destination: address,
    sourcePort: serverPort,
    destinationPort: port,
    seq: rig.peer.serverIss,
    flags: 0x02,
  });
  rig.deliver(
    icmpPacket({ source: address, destination: serverAddress, type, code, payload: quoted }),
  );
}

test('IPv4: an unreachable protocol ends a dial', () => {
  const rig = inState('SYN-SENT');
  quoteSyn(rig, 3, 2);
  expect(rig.flow.calls).toEqual(['closed dial-unreachable by upstream']);
  rig.expectEmpty();
});

test('IPv4: a source quench about a SYN is ignored (RFC 6633)', () => {
  const rig = inState('SYN-SENT');
  quoteSyn(rig, 4, 0);
  rig.wait(245_000);
  expect(rig.flow.calls).toEqual(['closed dial-timeout by upstream']);
});
