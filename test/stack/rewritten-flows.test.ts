/** Rewritten flows through the whole stack: what enters the device, and what leaves it. */

import { expect, test } from 'bun:test';
import { CloseReason } from '../../src/stack/close-reason.ts';
import { Counter } from '../../src/stack/counters.ts';
import { FlowCount } from '../../src/stack/flow-counts.ts';
import { ClosedBy } from '../../src/stack/flow-row.ts';
import { flowTotal } from '../../src/stack/flow-tally.ts';
import { IcmpErrorKind } from '../../src/stack/icmp-error-kind.ts';
import { boundsOf } from '../../src/stack/layout.ts';
import { parseAddress } from '../../src/stack/wire/ip-address.ts';
import { parseIcmpError } from '../support/icmp-error.ts';
import { icmpPacket, pattern, tcpPacket, udpPacket } from '../support/packet-builder.ts';
import { encodeOptions } from '../support/segment-text.ts';
import { TcpRig } from '../support/tcp-rig.ts';

const SYN = 0x02;
const SYN_ACK = 0x12;
const ACK = 0x10;
const FIN = 0x11;
const RST_ACK = 0x14;

const FAMILIES = [
  { client: '198.18.0.1', server: '198.51.100.9', pool: '192.0.2.1' },
  { client: 'fd00::1', server: '2001:db8::9', pool: '2001:db8:1::1' },
] as const;
type Ends = (typeof FAMILIES)[number];

/** A stack whose owner has everything masqueraded. */
function natRig(ends: Ends, after?: TcpRig): TcpRig {
  const rig = new TcpRig(after === undefined ? {} : { memory: after.memory, start: after.now });
  rig.stack.setPool([parseAddress(ends.pool) as Uint8Array]);
  rig.owner.reactions.syn = (row, now) => {
    expect(rig.stack.nat(row, true, now)).toBe(CloseReason.NONE);
  };
  return rig;
}

/** What leaves for what enters: nothing changes but an address, and the hop limit. */
function expectOut(rig: TcpRig, packet: Uint8Array): void {
  expect(rig.frames.shift()?.packet).toEqual(Uint8Array.from(packet));
  expect(rig.frames).toEqual([]);
}

for (const ends of FAMILIES) {
  const { client, server, pool } = ends;
  const up = { source: client, destination: server, sourcePort: 40_000, destinationPort: 80 };
  const seenUp = { ...up, source: pool, ttl: 63 };
  const down = { source: server, destination: pool, sourcePort: 80, destinationPort: 40_000 };
  const seenDown = { ...down, destination: client, ttl: 63 };
  const both = (rig: TcpRig, isReply: boolean, fields: object): void => {
    rig.deliver(tcpPacket({ ...(isReply ? down : up), ...fields }));
    expectOut(rig, tcpPacket({ ...(isReply ? seenDown : seenUp), ...fields }));
  };
  const connect = (rig: TcpRig): void => {
    const options = encodeOptions(['mss 1300', 'wscale 7', 'sackOK']);
    both(rig, false, { flags: SYN, seq: 1000, options });
    both(rig, true, { flags: SYN_ACK, seq: 5000, ack: 1001, options });
    both(rig, false, { flags: ACK, seq: 1001, ack: 5001 });
  };
  const close = (rig: TcpRig): void => {
    both(rig, true, { flags: FIN, seq: 5001, ack: 1001 });
    both(rig, false, { flags: FIN, seq: 1001, ack: 5002 });
    both(rig, true, { flags: ACK, seq: 5002, ack: 1002 });
  };

  test(`a TCP connection from ${client} passes, its bytes unchanged`, () => {
    const rig = natRig(ends);
    connect(rig);
    both(rig, false, { flags: ACK, seq: 1001, ack: 5001, payload: pattern(999) });
    both(rig, true, { flags: ACK, seq: 5001, ack: 2000, payload: pattern(1001) });
    expect(rig.flow.calls).toEqual(['syn']);
    expect(rig.counters.get(Counter.NAT_FLOWS_NOW)).toBe(1);
  });

  test(`the ends of ${client} are used again: a new flow, and a new verdict`, () => {
    const rig = natRig(ends);
    connect(rig);
    close(rig);
    both(rig, false, { flags: SYN, seq: 90_000 });
    expect(rig.owner.flows.map(({ calls }) => calls)).toEqual([
      ['syn', 'closed eof by upstream'],
      ['syn'],
    ]);
  });

  test(`an aborted connection of ${client} is reset in both directions`, () => {
    const rig = natRig(ends);
    connect(rig);
    rig.stack.abort(rig.row, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
    const reset = { flags: RST_ACK, window: 0, ttl: 64 };
    const frames = rig.frames.splice(0).map(({ packet }) => packet);
    expect(frames).toEqual([
      tcpPacket({ ...seenDown, ...reset, seq: 5001, ack: 1001 }),
      tcpPacket({ ...seenUp, ...reset, seq: 1001, ack: 5001 }),
    ]);
    expect(rig.stack.flows.used).toBe(0);
    expect(rig.counters.get(Counter.FLOWS_NOW)).toBe(0);
  });

  test(`what ${client} has survives the data plane`, () => {
    const old = natRig(ends);
    connect(old);
    const query = { payload: pattern(30), destinationPort: 443 };
    old.deliver(udpPacket({ ...up, ...query }));
    old.frames.length = 0;
    const rig = natRig(ends, old);
    expect(rig.frames).toEqual([]);
    expect(rig.leftovers).toEqual([]);
    expect(rig.counters.get(Counter.FLOWS_NOW)).toBe(2);
    both(rig, true, { flags: ACK, seq: 5001, ack: 1001, payload: pattern(100) });
    const answer = { sourcePort: 443, payload: pattern(50) };
    rig.deliver(udpPacket({ ...down, ...answer }));
    expectOut(rig, udpPacket({ ...seenDown, ...answer }));
    expect(rig.owner.flows).toEqual([]);
    // New flows come beside them, under new numbers.
    rig.deliver(udpPacket({ ...up, sourcePort: 41_000 }));
    expectOut(rig, udpPacket({ ...seenUp, sourcePort: 41_000 }));
    expect(rig.stack.flows.isLive(rig.row, 3)).toBe(true);
  });

  test(`datagrams of ${client} that wait leave as soon as there is a verdict`, () => {
    const rig = natRig(ends);
    rig.owner.reactions.syn = () => {};
    const sizes = [1, 600, 1400];
    for (const size of sizes) rig.deliver(udpPacket({ ...up, payload: pattern(size) }));
    expect(rig.frames).toEqual([]);
    expect(rig.stack.nat(rig.row, true, rig.now)).toBe(CloseReason.NONE);
    expect(rig.frames.splice(0).map(({ packet }) => packet)).toEqual(
      sizes.map((size) => udpPacket({ ...seenUp, payload: pattern(size) })),
    );
  });
}

test('a traceroute through the gateway sees the routers behind it', () => {
  const [ends] = FAMILIES;
  const rig = natRig(ends);
  const probe = { source: ends.client, destination: ends.server, ttl: 2, payload: pattern(32) };
  rig.deliver(udpPacket(probe));
  const seen = rig.frames.shift()?.packet as Uint8Array;
  const router = { source: '203.0.113.1', type: 11 };
  rig.deliver(icmpPacket({ ...router, destination: ends.pool, payload: seen }));
  const quote = udpPacket({ ...probe, ttl: 1 });
  const error = { ...router, destination: ends.client, payload: quote, ttl: 63 };
  expectOut(rig, icmpPacket(error));
});

test('a flow that cannot be translated still waits, to be refused', () => {
  const rig = new TcpRig();
  rig.owner.reactions.syn = (row, now) => {
    expect(rig.stack.nat(row, true, now)).toBe(CloseReason.NAT_EXHAUSTED);
    rig.stack.abort(row, CloseReason.NAT_EXHAUSTED, ClosedBy.GATEWAY, now);
  };
  rig.deliver(udpPacket({ source: '198.18.0.1', destination: '198.18.0.80' }));
  expect(rig.flow.calls).toEqual(['syn', 'closed nat-exhausted by gateway']);
  expect(rig.stack.flows.used).toBe(0);
});

test('a flow that nobody uses ends by itself, and its row is free', () => {
  const [ends] = FAMILIES;
  const rig = natRig(ends);
  rig.deliver(udpPacket({ source: ends.client, destination: ends.server, destinationPort: 443 }));
  rig.frames.length = 0;
  rig.wait(29_000);
  expect(rig.stack.flows.used).toBe(1);
  rig.wait(7_000);
  expect(rig.flow.calls).toEqual(['syn', 'closed idle by gateway']);
  expect(rig.stack.flows.used).toBe(0);
});

test('redirects and source quenches of strangers are not translated', () => {
  const [ends] = FAMILIES;
  const rig = natRig(ends);
  rig.deliver(udpPacket({ source: ends.client, destination: ends.server, payload: pattern(32) }));
  const seen = rig.frames.shift()?.packet as Uint8Array;
  for (const type of [4, 5]) {
    rig.deliver(icmpPacket({ source: '203.0.113.1', destination: ends.pool, type, payload: seen }));
  }
  expect(rig.frames).toEqual([]);
  expect(rig.drops).toEqual({ 'icmp-not-for-us': 2 });
});

test('a segment that no connection can begin with takes no row of a static rule', () => {
  const [ends] = FAMILIES;
  const rig = natRig(ends);
  rig.owner.natOf = () => true;
  const segment = { source: ends.client, destination: ends.server, seq: 5, ack: 9 };
  for (const flags of [SYN_ACK, FIN, 0x01]) rig.deliver(tcpPacket({ ...segment, flags }));
  expect(rig.owner.flows).toEqual([]);
  expect(rig.frames.splice(0)).toHaveLength(3);
  rig.deliver(tcpPacket({ ...segment, flags: RST_ACK }));
  expect(rig.frames).toEqual([]);
  // One in the middle of a connection does, for its flow may be older than the gateway.
  rig.deliver(tcpPacket({ ...segment, flags: ACK }));
  expect(rig.owner.flows).toHaveLength(1);
});

test('without loose pick-up, only a SYN takes a row of a static rule', () => {
  const [ends] = FAMILIES;
  const rig = natRig(ends);
  rig.tracking.tcpLoose = false;
  rig.owner.natOf = () => true;
  const segment = { source: ends.client, destination: ends.server };
  for (const flags of [ACK, SYN]) rig.deliver(tcpPacket({ ...segment, flags }));
  expect(rig.owner.flows).toHaveLength(1);
});

test('a table full of flows that were never answered lets a new connection in', () => {
  const [ends] = FAMILIES;
  const rig = natRig(ends);
  const flow = { source: ends.client, destination: ends.server, destinationPort: 443 };
  for (let i = 0; i < rig.limits.flows; i++)
    rig.deliver(udpPacket({ ...flow, sourcePort: 2000 + i }));
  expect(rig.stack.flows.used).toBe(rig.limits.flows);
  rig.frames.length = 0;
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  rig.connect();
  expect(flowTotal(rig.counters, FlowCount.EARLY_DROPPED)).toBe(1);
  expect(rig.drops).toEqual({});
  expect(rig.dial(rig.newPeer({ port: 41_000 }))).toBeGreaterThanOrEqual(0);
  expect(flowTotal(rig.counters, FlowCount.EARLY_DROPPED)).toBe(2);
  expect(rig.counters.get(Counter.FLOWS_NOW)).toBe(rig.limits.flows);
});

test('above a lowered limit no flow gives way for one that is refused all the same', () => {
  const [ends] = FAMILIES;
  const rig = natRig(ends);
  const flow = { source: ends.client, destination: ends.server, destinationPort: 443 };
  const send = (sourcePort: number) => rig.deliver(udpPacket({ ...flow, sourcePort }));
  for (let i = 0; i < 20; i++) send(2000 + i);
  rig.stack.setBounds({ ...boundsOf(rig.limits), flows: 10 });
  for (let i = 0; i < 5; i++) send(3000 + i);
  expect(flowTotal(rig.counters, FlowCount.EARLY_DROPPED)).toBe(0);
  expect(rig.stack.flows.used).toBe(20);
  expect(rig.drops).toEqual({ 'flow-table-full': 5 });
  rig.stack.setBounds({ ...boundsOf(rig.limits), flows: 20 });
  send(3000);
  expect(flowTotal(rig.counters, FlowCount.EARLY_DROPPED)).toBe(1);
  expect(rig.drops).toEqual({ 'flow-table-full': 5 });
});

test('what the kernel routes back into the device is refused, and its client is told', () => {
  for (const ends of FAMILIES) {
    const rig = natRig(ends);
    const { PROHIBITED } = IcmpErrorKind;
    rig.owner.reactions.syn = (row, now) => {
      const reason = rig.stack.nat(row, true, now);
      if (reason === CloseReason.NONE) return;
      rig.stack.reject(row, 'icmp', PROHIBITED, reason, ClosedBy.GATEWAY, now);
    };
    const probe = { source: ends.client, destination: ends.server, payload: pattern(32) };
    rig.deliver(udpPacket(probe));
    for (let i = 0; i < 2; i++) rig.deliver(rig.frames.shift()?.packet as Uint8Array);
    expect(rig.flow.calls).toEqual(['syn', 'closed dial-loop by gateway']);
    expect(rig.stack.flows.used).toBe(1);
    const error = parseIcmpError(rig.frames.shift()!.packet);
    expect(error).toMatchObject({
      source: ends.server,
      destination: ends.client,
      quoted: { source: ends.client, destination: ends.server },
    });
    expect(rig.frames).toEqual([]);
  }
});

test('a UDP checksum of zero passes over IPv6 where it is not for us to judge', () => {
  const [, ends] = FAMILIES;
  const rig = natRig(ends);
  rig.owner.natOf = () => true;
  const up = { source: ends.client, destination: ends.server, sourcePort: 5000 };
  const down = { source: ends.server, destination: ends.pool, destinationPort: 5000 };
  const unsummed = (packet: Uint8Array): Uint8Array => packet.fill(0, 46, 48);
  rig.deliver(unsummed(udpPacket(up)));
  expectOut(rig, unsummed(udpPacket({ ...up, source: ends.pool, ttl: 63 })));
  rig.owner.natOf = () => false;
  rig.deliver(unsummed(udpPacket({ ...down, sourcePort: 53 })));
  expectOut(
    rig,
    unsummed(udpPacket({ ...down, sourcePort: 53, destination: ends.client, ttl: 63 })),
  );
  rig.deliver(unsummed(udpPacket({ ...up, sourcePort: 5001 })));
  expect(rig.drops).toEqual({ 'bad-udp-checksum': 1 });
});

test('a superpacket is cut here when the device has begun to refuse them', () => {
  for (const ends of FAMILIES) {
    const rig = natRig(ends);
    const up = { source: ends.client, destination: ends.server, sourcePort: 5000 };
    const down = { source: ends.server, destination: ends.pool, destinationPort: 5000 };
    const seen = { ...up, source: ends.pool, ttl: 63 };
    const { capabilities } = rig.device;
    capabilities.tso4 = capabilities.tso6 = capabilities.uso = false;
    const payload = pattern(2500);
    const parts = [0, 1000, 2000].map((at) => payload.subarray(at, at + 1000));
    // From the transport header on: identifications of IPv4 count up.
    const segments = (packets: readonly Uint8Array[]) =>
      packets.map((packet) => Buffer.from(packet.subarray(ends === FAMILIES[0] ? 20 : 40)));
    const sent = () => segments(rig.frames.splice(0).map(({ packet }) => packet));
    rig.deliver(udpPacket({ ...up, payload }), 1000);
    expect(sent()).toEqual(segments(parts.map((part) => udpPacket({ ...seen, payload: part }))));
    rig.deliver(tcpPacket({ ...up, flags: SYN, seq: 99 }));
    rig.deliver(tcpPacket({ ...down, sourcePort: 80, flags: SYN_ACK, seq: 5, ack: 100 }));
    rig.frames.length = 0;
    const data = { flags: ACK, seq: 100, ack: 6 };
    rig.deliver(tcpPacket({ ...up, ...data, payload }), 1000);
    const cut = parts.map((part, i) =>
      tcpPacket({ ...seen, ...data, seq: 100 + i * 1000, payload: part }),
    );
    expect(sent()).toEqual(segments(cut));
  }
});

test.each([0, 1, 1500, 0xffff])(
  'a superpacket goes back with its own header length, whatever came: %d',
  (headerLength) => {
    for (const ends of FAMILIES) {
      const rig = natRig(ends);
      const up = { source: ends.client, destination: ends.server, sourcePort: 5000 };
      const frame = rig.device.incoming(udpPacket({ ...up, payload: pattern(2500) }), 1000);
      const header = new DataView(frame.buffer);
      // NEEDS_CSUM, in the checksum field of UDP.
      header.setUint8(0, 1);
      header.setUint16(2, headerLength, true);
      header.setUint16(6, ends === FAMILIES[0] ? 20 : 40, true);
      header.setUint16(8, 6, true);
      rig.deliverFrame(frame);
      // The device of the test throws when the header does not describe the packet.
      expect(rig.frames.map(({ gsoSize }) => gsoSize)).toEqual([1000]);
    }
  },
);
