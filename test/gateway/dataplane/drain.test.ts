/** What a gateway waits for that is asked to stop. */
import { expect, test } from 'bun:test';
import { Drain } from '../../../src/gateway/dataplane/drain.ts';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { ClosedBy } from '../../../src/stack/flow-row.ts';
import { parseAddress } from '../../../src/stack/wire/ip-address.ts';
import { icmpPacket, tcpPacket, udpPacket } from '../../support/packet-builder.ts';
import { TcpRig } from '../../support/tcp-rig.ts';

const DEADLINE_MS = 10_000;
const SYN = 0x02;
const SYN_ACK = 0x12;
const ACK = 0x10;
const FIN_ACK = 0x11;
const ENDS = { source: '198.18.0.1', destination: '198.51.100.9' };
const POOL = '192.0.2.1';
const UP = { ...ENDS, sourcePort: 40_000, destinationPort: 80 };
const DOWN = {
  source: ENDS.destination,
  destination: POOL,
  sourcePort: 80,
  destinationPort: 40_000,
};

const datagram = () => udpPacket({ ...ENDS, sourcePort: 5000, destinationPort: 443 });
const ping = () => icmpPacket({ ...ENDS, type: 8, rest: 0x0001_0001 });

const NOBODY = { count: 0, endAll: () => 0 };

function draining(rig: TcpRig, orphans = NOBODY): Drain {
  const drain = new Drain(rig.stack, orphans);
  expect(drain.check(rig.now)).toBeUndefined();
  drain.begin(DEADLINE_MS, rig.now);
  return drain;
}

function admitting(): TcpRig {
  const rig = new TcpRig();
  rig.owner.reactions.syn = (row, now) => rig.stack.admit(row, now);
  return rig;
}

function rewriting(): TcpRig {
  const rig = new TcpRig();
  rig.stack.setPool([parseAddress(POOL) as Uint8Array]);
  rig.owner.reactions.syn = (row, now) => {
    expect(rig.stack.nat(row, true, now)).toBe(CloseReason.NONE);
  };
  return rig;
}

/** A rewritten connection of the client. */
function rewrittenTcp(): TcpRig {
  const rig = rewriting();
  rig.deliver(tcpPacket({ ...UP, flags: SYN, seq: 100 }));
  rig.deliver(tcpPacket({ ...DOWN, flags: SYN_ACK, seq: 500, ack: 101 }));
  rig.deliver(tcpPacket({ ...UP, flags: ACK, seq: 101, ack: 501 }));
  return rig;
}

const closed = (rig: TcpRig): string[] =>
  rig.owner.flows.map(({ calls }) => calls.at(-1) ?? 'nothing');

for (const [name, make] of Object.entries({ sockets: admitting, rewriting })) {
  test(`datagrams and pings by ${name} keep nobody waiting, and are reported`, () => {
    const rig = make();
    rig.deliver(datagram());
    rig.deliver(ping());
    expect(draining(rig).check(rig.now)).toBe(0);
    expect(closed(rig)).toEqual(['closed drain by gateway', 'closed drain by gateway']);
    expect(rig.stack.flows.used).toBe(0);
  });
}

test('a datagram that waits for its verdict does not, either', () => {
  const rig = new TcpRig();
  rig.deliver(datagram());
  expect(draining(rig).check(rig.now)).toBe(0);
  expect(rig.stack.flows.used).toBe(0);
});

test('datagrams go on for as long as a connection is waited for', () => {
  const rig = new TcpRig();
  rig.connect();
  rig.owner.reactions.syn = (row, now) => rig.stack.admit(row, now);
  rig.deliver(datagram());
  const drain = draining(rig);
  expect(drain.check(rig.now)).toBeUndefined();
  rig.deliver(datagram());
  expect(rig.owner.datagrams).toHaveLength(2);
  rig.stack.abort(0, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
  expect(drain.check(rig.now)).toBe(0);
  expect(closed(rig)).toEqual(['closed killed by gateway', 'closed drain by gateway']);
});

test('connections that are still open at the deadline are cut, and counted', () => {
  const rig = new TcpRig();
  rig.connect();
  const drain = draining(rig);
  rig.wait(DEADLINE_MS - 1);
  expect(drain.check(rig.now)).toBeUndefined();
  rig.wait(1);
  expect(drain.check(rig.now)).toBe(1);
  expect(closed(rig)).toEqual(['closed drain by gateway']);
});

test('a rewritten connection is waited for until both ends have closed', () => {
  const rig = rewrittenTcp();
  const drain = draining(rig);
  expect(drain.check(rig.now)).toBeUndefined();
  rig.deliver(tcpPacket({ ...UP, flags: FIN_ACK, seq: 101, ack: 501 }));
  rig.deliver(tcpPacket({ ...DOWN, flags: FIN_ACK, seq: 501, ack: 102 }));
  expect(drain.check(rig.now)).toBeUndefined();
  rig.deliver(tcpPacket({ ...UP, flags: ACK, seq: 102, ack: 502 }));
  expect(drain.check(rig.now)).toBe(0);
  // It is reported as what it was, although its TIME-WAIT is not over.
  expect(closed(rig)).toEqual(['closed eof by client']);
});

test('a rewritten connection that was reset is not waited for', () => {
  const rig = rewrittenTcp();
  rig.deliver(tcpPacket({ ...DOWN, flags: 0x14, seq: 501, ack: 101 }));
  expect(draining(rig).check(rig.now)).toBe(0);
  expect(closed(rig)).toEqual(['closed upstream-reset by upstream']);
});

test('what clients have left is waited for, and cut at the deadline', () => {
  const rig = new TcpRig();
  const orphans = {
    count: 2,
    endAll: () => {
      const { count } = orphans;
      orphans.count = 0;
      return count;
    },
  };
  const drain = draining(rig, orphans);
  rig.wait(DEADLINE_MS - 1);
  expect(drain.check(rig.now)).toBeUndefined();
  rig.wait(1);
  expect(drain.check(rig.now)).toBe(2);
  expect(orphans.count).toBe(0);
});
