/** Packets of rewritten flows: TCP is in tcp-track.test.ts, addresses in test/stack/nat. */

import { expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { FlowCount } from '../../../src/stack/flow-counts.ts';
import { Carrier, ClosedBy, FlowField } from '../../../src/stack/flow-row.ts';
import { flowTotal } from '../../../src/stack/flow-tally.ts';
import { NEVER } from '../../../src/stack/time.ts';
import { tcpPacket, udpPacket } from '../../support/packet-builder.ts';
import { encodeOptions } from '../../support/segment-text.ts';
import { CLIENT, POOL, SERVER, TrackRig } from '../../support/track-rig.ts';

const SYN = 0x02;
const SYN_ACK = 0x12;
const ROUTER = '203.0.113.254';
const payload = new Uint8Array(100);
const TIME_EXCEEDED = 11;
const UNREACHABLE = 3;

/** Ten looks of the reaper, five seconds apart. */
function reap(rig: TrackRig): void {
  for (let i = 0; i < 10; i++) {
    rig.conntrack.reap(rig.now);
    rig.pass(5);
  }
}

test('UDP is unreplied, replied, and after two seconds a stream', () => {
  const rig = new TrackRig();
  const send = (): string => rig.clientUdp({ destinationPort: 443 });
  send();
  expect(rig.flow()).toMatchObject({ trackState: 'UNREPLIED', hasReply: false });
  expect(rig.timeLeft()).toBe(30);
  rig.pass(1);
  rig.upstreamUdp();
  expect(rig.flow()).toMatchObject({ trackState: 'REPLIED', hasReply: true, isAssured: false });
  send();
  expect(rig.timeLeft()).toBe(30);
  rig.pass(1.5);
  send();
  expect(rig.flow()).toMatchObject({ trackState: 'STREAM', isAssured: true });
  expect(rig.timeLeft()).toBe(120);
});

test('a DNS query does not keep its row for long', () => {
  const rig = new TrackRig();
  rig.clientUdp({ destinationPort: 53 });
  rig.upstreamUdp();
  expect(rig.timeLeft()).toBe(10);
});

test.each([
  [53, ['0: 5 in 0', '0: 10 in 5']],
  [5353, []],
])('of a flow to port %i answers are shown, and no questions', (port, expected) => {
  const seen: string[] = [];
  const answers = {
    isOn: true,
    answers: (row: number, at: number, length: number, segmentBytes: number) => {
      const text = new TextDecoder().decode(rig.arena.bytes.subarray(at, at + 5));
      expect(text).toBe('first');
      seen.push(`${row}: ${length} in ${segmentBytes}`);
    },
  };
  const rig = new TrackRig({ answers });
  const payload = new TextEncoder().encode('first');
  rig.clientUdp({ destinationPort: port, payload });
  rig.upstreamUdp({ payload });
  const two = new TextEncoder().encode('firstother');
  rig.offer(udpPacket({ ...rig.replyEnds(), payload: two }), 5);
  expect(seen).toEqual(expected);
  answers.isOn = false;
  rig.upstreamUdp({ payload });
  expect(seen).toEqual(expected);
});

test('a verdict says how long datagrams may fail to come', () => {
  const rig = new TrackRig();
  rig.idleTimeoutMs = 5000;
  rig.clientUdp({ destinationPort: 443 });
  expect(rig.timeLeft()).toBe(5);
});

test('an echo is translated in both directions', () => {
  const rig = new TrackRig();
  rig.icmp({ source: CLIENT, destination: SERVER, type: 8, rest: 0x0007_0001, payload });
  expect(rig.last).toBe(`${POOL} > ${SERVER}`);
  expect(rig.timeLeft()).toBe(30);
  rig.icmp({ source: SERVER, destination: POOL, type: 0, rest: 0x0007_0001, payload });
  expect(rig.last).toBe(`${SERVER} > ${CLIENT}`);
  expect(rig.flow().trackState).toBe('REPLIED');
});

test('bytes and packets are counted by direction, those of a superpacket one by one', () => {
  const rig = new TrackRig();
  rig.clientUdp({ payload });
  rig.upstreamUdp({ payload: new Uint8Array(7) });
  const ends = { source: CLIENT, destination: SERVER };
  rig.offer(udpPacket({ ...ends, payload: new Uint8Array(1000) }), 300);
  expect(rig.flow()).toMatchObject({
    bytesUp: 1100,
    packetsUp: 5,
    bytesDown: 7,
    packetsDown: 1,
    lastUsedAt: rig.now,
  });
  expect(rig.counters.get(Counter.NAT_PACKETS)).toBe(3);
  expect(rig.counters.get(Counter.NAT_SUPERPACKETS)).toBe(1);
  expect([FlowCount.BYTES_UP, FlowCount.BYTES_DOWN].map((c) => flowTotal(rig.counters, c))).toEqual(
    [1100, 7],
  );
});

test('a packet goes one hop, or not at all', () => {
  const rig = new TrackRig();
  rig.clientUdp({ ttl: 9 });
  expect(rig.forwarded[0]?.[8]).toBe(8);
  expect(rig.clientUdp({ ttl: 1, payload })).toBe('hop-limit-exceeded');
  expect(rig.packet.hopLimit).toBe(1);
  expect(rig.forwarded).toHaveLength(1);
  expect(rig.flow().packetsUp).toBe(1);
});

test('a SYN offers what fits the device, or what the operator says', () => {
  const mssOf = (rig: TrackRig): number => {
    const options = encodeOptions(['mss 9000']);
    rig.client({ flags: SYN, options });
    rig.upstream({ flags: SYN_ACK, ack: 2, options });
    const values = rig.forwarded.map((bytes) => ((bytes[42] ?? 0) << 8) | (bytes[43] ?? 0));
    expect(values[0]).toBe(values[1] ?? -1);
    return values[0] ?? 0;
  };
  expect(mssOf(new TrackRig({ settings: { clampMss: 'auto' } }))).toBe(1460);
  expect(mssOf(new TrackRig({ settings: { clampMss: 1300 } }))).toBe(1300);
  expect(mssOf(new TrackRig())).toBe(9000);
});

test('an error about a packet of the client goes to the client', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000, payload });
  const quote = rig.forwarded[0] as Uint8Array;
  rig.pass(3);
  const before = rig.flow();
  const error = { source: ROUTER, destination: POOL, type: TIME_EXCEEDED, payload: quote };
  expect(rig.icmp(error)).toBe('none');
  expect(rig.last).toBe(`${ROUTER} > ${CLIENT}`);
  expect(rig.counters.get(Counter.ICMP_ERRORS_RELAYED)).toBe(1);
  // It keeps nothing alive, and is none of the flow's own packets.
  expect(rig.flow()).toEqual(before);
});

test('an error about a packet of the upstream goes to the upstream', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000 });
  rig.upstreamUdp({ payload });
  const quote = rig.forwarded[1] as Uint8Array;
  const error = { source: CLIENT, destination: SERVER, type: UNREACHABLE, code: 3, payload: quote };
  expect(rig.icmp(error)).toBe('none');
  expect(rig.last).toBe(`${POOL} > ${SERVER}`);
});

test('an error about nothing that we know, or addressed to somebody else, goes nowhere', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000 });
  const quote = rig.forwarded[0] as Uint8Array;
  const error = { source: ROUTER, destination: POOL, type: TIME_EXCEEDED, payload: quote };
  expect(rig.icmp({ ...error, destination: '192.0.2.99' })).toBe('bad-icmp-quote');
  const stranger = tcpPacket({ source: POOL, destination: SERVER });
  expect(rig.icmp({ ...error, payload: stranger })).toBe('icmp-unmatched');
  expect(rig.icmp({ ...error, payload: quote.slice(0, 21) })).toBe('icmp-unmatched');
  expect(rig.icmp({ ...error, ttl: 1 })).toBe('hop-limit-exceeded');
  rig.pass(31);
  expect(rig.icmp(error)).toBe('icmp-unmatched');
  expect(rig.forwarded).toHaveLength(1);
});

test('flows that nobody meets again are taken out, and told of', () => {
  const rig = new TrackRig();
  for (const sourcePort of [1, 2, 3]) rig.clientUdp({ sourcePort });
  expect(rig.conntrack.nextReapAt()).toBeLessThan(rig.now + 1_000_000);
  rig.pass(31);
  reap(rig);
  expect(rig.closed).toEqual(['idle by gateway', 'idle by gateway', 'idle by gateway']);
  expect(rig.flows.used).toBe(0);
  expect(rig.counters.get(Counter.FLOWS_REAPED)).toBe(3);
  expect(rig.counters.get(Counter.NAT_FLOWS_NOW)).toBe(0);
  expect(rig.conntrack.nextReapAt()).toBe(NEVER);
});

test('a packet that meets an expired flow begins another', () => {
  const rig = new TrackRig();
  rig.clientUdp();
  rig.pass(31);
  expect(rig.clientUdp()).toBe('none');
  expect(rig.closed).toEqual(['idle by gateway']);
  expect(rig.flow().serial).toBe(2);
});

test('a full table makes room at the cost of a flow that was never answered', () => {
  const rig = new TrackRig({ flows: 2 });
  rig.clientUdp({ sourcePort: 1 });
  rig.upstreamUdp();
  rig.clientUdp({ sourcePort: 2 });
  expect(rig.clientUdp({ sourcePort: 3 })).toBe('flow-table-full');
  expect(rig.conntrack.earlyDrop(rig.now)).toBe(true);
  expect(rig.closed).toEqual(['early-drop by limit']);
  expect(flowTotal(rig.counters, FlowCount.EARLY_DROPPED)).toBe(1);
  expect(rig.clientUdp({ sourcePort: 3 })).toBe('none');
  expect(rig.flow(0).source.port).toBe(1);
});

test('a table full of connections that stand gives none of them up', () => {
  const rig = new TrackRig({ flows: 1 });
  rig.client({ flags: SYN, seq: 1 });
  rig.upstream({ flags: SYN_ACK, seq: 1, ack: 2 });
  rig.client({ flags: 0x10, seq: 2, ack: 2 });
  expect(rig.conntrack.earlyDrop(rig.now)).toBe(false);
});

test('a session is watched as a flow of datagrams is', () => {
  const rig = new TrackRig();
  const packet = udpPacket({ source: CLIENT, destination: SERVER, destinationPort: 443 });
  const at = rig.arena.take(2048);
  rig.arena.bytes.set(packet, at);
  rig.read(at, packet.length);
  rig.find();
  const row = rig.insert();
  rig.arena.view.setUint8(rig.flows.rowAt(row) + FlowField.CARRIER, Carrier.SESSION);
  rig.conntrack.touch(row, false, rig.now);
  expect(rig.flow(row)).toMatchObject({ carrier: 'session', trackState: 'UNREPLIED' });
  expect(rig.counters.get(Counter.SESSIONS_NOW)).toBe(1);
  rig.conntrack.touch(row, true, rig.now);
  expect(rig.flow(row).trackState).toBe('REPLIED');
  rig.pass(3);
  rig.conntrack.touch(row, false, rig.now);
  expect(rig.timeLeft(row)).toBe(120);
  expect(rig.counters.get(Counter.SESSIONS_NOW)).toBe(1);
  rig.pass(121);
  reap(rig);
  expect(rig.closed).toEqual(['idle by gateway']);
  expect(rig.counters.get(Counter.SESSIONS_NOW)).toBe(0);
});

test('the reason that was noted first is the one that is told', () => {
  const rig = new TrackRig();
  rig.clientUdp();
  rig.arena.view.setUint8(rig.flows.rowAt(0) + FlowField.CLOSE_REASON, CloseReason.EOF);
  rig.conntrack.end(0, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
  expect(rig.closed).toEqual(['eof by none']);
  expect(rig.counters.closed(CloseReason.EOF)).toBe(1);
});
