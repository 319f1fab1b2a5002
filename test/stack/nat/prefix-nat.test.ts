/** Prefix rules through the whole stack: what enters the device, and what leaves it. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { parseCidr } from '../../../src/stack/wire/ip-address.ts';
import { parseIcmpError } from '../../support/icmp-error.ts';
import {
  icmpPacket,
  ipPacket,
  pattern,
  tcpPacket,
  udpPacket,
} from '../../support/packet-builder.ts';
import { encodeOptions } from '../../support/segment-text.ts';
import { type RigOptions, TcpRig } from '../../support/tcp-rig.ts';

const INSIDE = 'fd01:203:405:1::1234';
// RFC 6296 §3.6.
const OUTSIDE = '2001:db8:1:d550::1234';
const SERVER = '2001:db8:99::80';
const NEIGHBOUR = 'fd01:203:405:2::5678';
const NEIGHBOUR_OUTSIDE = '2001:db8:1:d551::5678';
const SYN = 0x02;
const SCTP = 132;

const UP = { source: INSIDE, destination: SERVER };
const SEEN_UP = { source: OUTSIDE, destination: SERVER, ttl: 63 };
const DOWN = { source: SERVER, destination: OUTSIDE };
const SEEN_DOWN = { source: SERVER, destination: INSIDE, ttl: 63 };

function prefixRig(options: RigOptions = {}): TcpRig {
  const rig = new TcpRig(options);
  rig.stack.setPrefixes([
    { inside: parseCidr('fd01:203:405::/48')!, outside: parseCidr('2001:db8:1::/48')! },
  ]);
  return rig;
}

/** What leaves for what enters; no flow begins. */
function expectOut(rig: TcpRig, packet: Uint8Array): void {
  expect(rig.frames.shift()?.packet).toEqual(Uint8Array.from(packet));
  expect(rig.frames).toEqual([]);
  expect(rig.owner.flows).toEqual([]);
  expect(rig.stack.flows.used).toBe(0);
}

describe('a packet that belongs to no flow', () => {
  const body = { payload: pattern(300) };
  test.each([
    ['TCP in the middle of a connection', (ends: object) => tcpPacket({ ...ends, ...body })],
    ['a reset', (ends: object) => tcpPacket({ ...ends, flags: 0x04 })],
    ['a datagram', (ends: object) => udpPacket({ ...ends, ...body })],
    ['a ping', (ends: object) => icmpPacket({ ...ends, type: 128, rest: 0x0007_0001, ...body })],
    [
      'its answer',
      (ends: object) => icmpPacket({ ...ends, type: 129, rest: 0x0007_0001, ...body }),
    ],
    ['a protocol without ports', (ends: object) => ipPacket(ends, SCTP, pattern(40), -1)],
  ])('passes both ways, its bytes and checksums unchanged: %s', (_, packet) => {
    const rig = prefixRig();
    rig.deliver(packet(UP));
    expectOut(rig, packet(SEEN_UP));
    rig.deliver(packet(DOWN));
    expectOut(rig, packet(SEEN_DOWN));
    expect(rig.counters.get(Counter.PREFIX_PACKETS)).toBe(2);
    expect(rig.drops).toEqual({});
  });

  test('from inside to an outside address comes in with the outside address of its sender', () => {
    const rig = prefixRig();
    rig.deliver(udpPacket({ source: INSIDE, destination: NEIGHBOUR_OUTSIDE, ...body }));
    expectOut(rig, udpPacket({ source: OUTSIDE, destination: NEIGHBOUR, ttl: 63, ...body }));
  });

  test('with neither prefix is a new flow', () => {
    const rig = prefixRig();
    rig.deliver(udpPacket({ source: 'fd02::1', destination: SERVER, ...body }));
    rig.deliver(udpPacket({ source: '198.18.0.1', destination: '198.18.0.80', ...body }));
    expect(rig.owner.flows).toHaveLength(2);
  });

  test('has its MSS lowered to what fits the device', () => {
    const rig = prefixRig();
    const syn = (ends: object, mss: number) =>
      tcpPacket({ ...ends, flags: SYN, options: encodeOptions([`mss ${mss}`]) });
    rig.deliver(syn(UP, 8960));
    expectOut(rig, syn(SEEN_UP, 1440));
    rig.tracking.clampMss = 'off';
    rig.deliver(syn(UP, 8960));
    expectOut(rig, syn(SEEN_UP, 8960));
  });

  test('goes the way of its flow, which a listener in front of the rule began', () => {
    const rig = prefixRig();
    rig.owner.takenBefore = (rule, _protocol, _at, _length, port) => rule === 0 && port === 443;
    rig.owner.reactions.syn = (row, now) => rig.stack.admit(row, now);
    rig.deliver(udpPacket({ ...UP, destinationPort: 443, ...body }));
    expect(rig.owner.datagrams).toHaveLength(1);
    rig.owner.takenBefore = () => false;
    rig.deliver(udpPacket({ ...UP, destinationPort: 443, ...body }));
    expect(rig.owner.datagrams).toHaveLength(2);
    expect(rig.frames).toEqual([]);
  });

  test('has no other side: its sender is told, and nothing is left half translated', () => {
    const rig = prefixRig();
    rig.stack.setLocalAddresses(['fd01:203:405::1']);
    const source = 'fd01:203:405:ffff::1';
    rig.deliver(tcpPacket({ source, destination: NEIGHBOUR_OUTSIDE }));
    expect(parseIcmpError(rig.frames.shift()!.packet)).toMatchObject({
      ...{ type: 1, code: 3, destination: source },
      quoted: { source, destination: NEIGHBOUR_OUTSIDE },
    });
    rig.deliver(tcpPacket({ source: SERVER, destination: '2001:db8:1:ffff::1' }));
    expect(rig.frames).toHaveLength(1);
    expect(rig.drops).toEqual({ 'bad-source-address': 1, 'bad-destination-address': 1 });
  });

  test('dies here of its last hop, and its sender is told', () => {
    const rig = prefixRig();
    rig.stack.setLocalAddresses(['fd01:203:405::1']);
    rig.deliver(tcpPacket({ ...UP, ttl: 1 }));
    expect(parseIcmpError(rig.frames.shift()!.packet)).toMatchObject({
      ...{ type: 3, source: 'fd01:203:405::1', destination: INSIDE },
      quoted: UP,
    });
    expect(rig.drops).toEqual({ 'hop-limit-exceeded': 1 });
  });
});

describe('an ICMPv6 error', () => {
  const ROUTER = '2001:db8:77::1';
  const error = (ends: object, quoted: Uint8Array) =>
    icmpPacket({ ...ends, type: 2, rest: 1280, payload: quoted.slice(0, 100) });

  test('about what left comes in about what was sent', () => {
    const rig = prefixRig();
    const sent = { ...UP, payload: pattern(200) };
    rig.deliver(
      error({ source: ROUTER, destination: OUTSIDE }, tcpPacket({ ...sent, ...SEEN_UP })),
    );
    const about = tcpPacket({ ...sent, ttl: 63 });
    expectOut(rig, error({ source: ROUTER, destination: INSIDE, ttl: 63 }, about));
    expect(rig.counters.get(Counter.ICMP_ERRORS_RELAYED)).toBe(1);
  });

  test('about what came in leaves about what was sent', () => {
    const rig = prefixRig();
    const sent = { ...DOWN, payload: pattern(200) };
    rig.deliver(
      error({ source: INSIDE, destination: SERVER }, udpPacket({ ...sent, ...SEEN_DOWN })),
    );
    const about = udpPacket({ ...sent, ttl: 63 });
    expectOut(rig, error({ source: OUTSIDE, destination: SERVER, ttl: 63 }, about));
  });

  const FRAGMENT = 44;
  const fragment = (offset: number) => Uint8Array.of(17, 0, offset >> 8, offset & 0xff, 0, 0, 0, 9);
  test.each([
    [
      'a fragment that is not the first',
      (ends: object) =>
        ipPacket(
          { ...ends, extensionHeader: FRAGMENT, extra: fragment(1480) },
          17,
          pattern(60),
          -1,
        ),
    ],
    ['half a transport header', (ends: object) => tcpPacket(ends).slice(0, 40 + 4)],
    ['no transport header', (ends: object) => tcpPacket(ends).slice(0, 40)],
    [
      'extension headers that go on behind its end',
      (ends: object) =>
        ipPacket({ ...ends, extensionHeader: 60, extra: Uint8Array.of(6, 9) }, 6, pattern(20), -1),
    ],
  ])('quotes who sent the packet, whatever else it quotes: %s', (_, packet) => {
    const rig = prefixRig();
    rig.deliver(error({ source: ROUTER, destination: OUTSIDE }, packet(SEEN_UP)));
    const about = packet({ ...UP, ttl: 63 });
    expectOut(rig, error({ source: ROUTER, destination: INSIDE, ttl: 63 }, about));
    rig.deliver(error({ source: INSIDE, destination: SERVER }, packet(SEEN_DOWN)));
    const sent = packet({ ...DOWN, ttl: 63 });
    expectOut(rig, error({ source: OUTSIDE, destination: SERVER, ttl: 63 }, sent));
  });

  test('that quotes too little passes all the same', () => {
    const rig = prefixRig();
    const short = (ends: object) => icmpPacket({ ...ends, type: 1, payload: pattern(20) });
    rig.deliver(short({ source: ROUTER, destination: OUTSIDE }));
    expectOut(rig, short({ source: ROUTER, destination: INSIDE, ttl: 63 }));
  });

  test('about a rewritten flow is that of the flow', () => {
    const rig = prefixRig();
    rig.owner.takenBefore = () => true;
    rig.owner.reactions.syn = (row, now) => {
      expect(rig.stack.nat(row, false, now)).toBe(CloseReason.NONE);
    };
    rig.deliver(udpPacket({ ...UP, payload: pattern(30) }));
    rig.owner.takenBefore = () => false;
    const [seen] = rig.frames.splice(0);
    rig.deliver(error({ source: ROUTER, destination: INSIDE }, seen!.packet));
    expect(rig.frames).toHaveLength(1);
    expect(rig.counters.get(Counter.PREFIX_PACKETS)).toBe(0);
  });
});
