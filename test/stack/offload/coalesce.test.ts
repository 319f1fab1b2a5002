import { describe, expect, test } from 'bun:test';
import { Arena } from '../../../src/stack/arena.ts';
import { Coalescer } from '../../../src/stack/offload/coalesce.ts';
import { completeChecksum } from '../../../src/stack/offload/segment.ts';
import { TcpFlag } from '../../../src/stack/wire/tcp.ts';
import { coalesce } from '../../support/coalescing.ts';
import { allocatedTypes } from '../../support/no-alloc.ts';
import {
  concat,
  hex,
  pattern,
  type TcpFields,
  tcpPacket,
  udpPacket,
  viewOf,
} from '../../support/packet-builder.ts';

const { FIN, SYN, RST, PSH, ACK, URG, ECE, CWR } = TcpFlag;
const MSS = 1448;
const IPV6 = { source: 'fd00::1', destination: 'fd00::2' };
const stamp = (value: number): Uint8Array => {
  const option = hex('0101080a 00000000 00000002');
  viewOf(option).setUint32(4, value);
  return option;
};
const base: TcpFields = { seq: 0xffffff00, ack: 77, options: stamp(1), trafficClass: 2 };

/** The segment number `index` of a run of full ones. */
const part = (index: number, fields: TcpFields = {}): Uint8Array<ArrayBuffer> =>
  tcpPacket({
    ...base,
    seq: (0xffffff00 + index * MSS) >>> 0,
    payload: pattern(MSS, index + 1),
    ...fields,
  });

/** How many payload bytes each packet that comes out has, which shows what was merged. */
const payloads = (packets: readonly Uint8Array[]): number[] =>
  coalesce(packets).map(({ bytes }) => bytes.length - 52);

describe('a run becomes one superpacket with the checksum that NEEDS_CSUM leaves', () => {
  test.each([
    ['IPv4', {}, 20],
    ['IPv6', IPV6, 40],
  ])('%s', (_name, addresses, ipBytes) => {
    const last = pattern(100, 9);
    const out = coalesce([
      part(0, addresses),
      part(1, addresses),
      part(2, { ...addresses, payload: last, flags: ACK | PSH }),
    ]);
    expect(out.map(({ gsoSize }) => gsoSize)).toEqual([MSS]);
    const merged = out[0]?.bytes ?? new Uint8Array(0);
    completeChecksum(viewOf(merged), 0, ipBytes, 16, merged.length);
    const payload = concat([pattern(MSS, 1), pattern(MSS, 2), last]);
    expect(merged).toEqual(tcpPacket({ ...base, ...addresses, flags: ACK | PSH, payload }));
  });
});

test('a packet that stays alone comes out untouched, wrong checksum or not', () => {
  const wrong = part(0);
  viewOf(wrong).setUint16(36, 0xdead);
  expect(coalesce([wrong])).toEqual([{ bytes: wrong, gsoSize: 0 }]);
});

test('padding of a frame is left out', () => {
  const padded = concat([part(0), new Uint8Array(7).fill(0xee)]);
  expect(payloads([padded, part(1)])).toEqual([2 * MSS]);
});

test('identifications may count up, or stay the same where DF is set', () => {
  const counting = (step: number, fragmentWord: number) =>
    [0, 1, 2].map((i) => part(i, { identification: (0xffff + i * step) & 0xffff, fragmentWord }));
  expect(payloads(counting(1, 0x0000))).toEqual([3 * MSS]);
  expect(payloads(counting(1, 0x4000))).toEqual([3 * MSS]);
  expect(payloads(counting(0, 0x4000))).toEqual([3 * MSS]);
  expect(payloads(counting(0, 0x0000))).toEqual([MSS, MSS, MSS]);
  expect(payloads(counting(2, 0x4000))).toEqual([MSS, MSS, MSS]);
});

describe('ends a run, and comes out behind it', () => {
  const BAD = part(2);
  viewOf(BAD).setUint16(36, 0xdead);
  // The bit beside the length of the header, RFC 9768; the checksum knows of it.
  const ACCURATE = part(2);
  viewOf(ACCURATE).setUint8(32, viewOf(ACCURATE).getUint8(32) | 1);
  viewOf(ACCURATE).setUint16(36, viewOf(ACCURATE).getUint16(36) - 0x0100);
  test.each([
    ['another source', part(2, { source: '10.0.0.9' })],
    ['another destination', part(2, { destination: '10.0.0.9' })],
    ['another source port', part(2, { sourcePort: 9 })],
    ['another destination port', part(2, { destinationPort: 9 })],
    ['another acknowledgment', part(2, { ack: 78 })],
    ['another window', part(2, { window: 1 })],
    ['another timestamp', part(2, { options: stamp(2) })],
    ['other options of that length', part(2, { options: hex('01'.repeat(12)) })],
    ['another traffic class', part(2, { trafficClass: 3 })],
    ['another TTL', part(2, { ttl: 63 })],
    ['DF not set', part(2, { fragmentWord: 0, identification: 2 })],
    ['a gap', part(2, { seq: (0xffffff00 + 2 * MSS + 1) >>> 0 })],
    ['a repetition', part(2, { seq: 0xffffff00 })],
    ['a wrong checksum', BAD],
    ['AE', ACCURATE],
    ['FIN', part(2, { flags: ACK | FIN })],
    ['URG', part(2, { flags: ACK | URG })],
    ['ECE', part(2, { flags: ACK | ECE })],
    ['CWR', part(2, { flags: ACK | CWR })],
    ['RST', part(2, { flags: RST | ACK })],
    ['SYN', part(2, { flags: SYN | ACK })],
    ['no ACK', part(2, { flags: PSH })],
    ['IPv4 options', part(2, { extra: hex('01010101') })],
    ['a fragment', part(2, { fragmentWord: 0x2000 })],
    ['IPv6', part(2, IPV6)],
    ['a longer payload', part(2, { payload: pattern(MSS + 1) })],
    ['no payload', part(2, { payload: new Uint8Array(0) })],
    ['UDP', udpPacket({ payload: pattern(20) })],
    ['bytes that are no packet', Uint8Array.of(0x45, 1, 2)],
    ['an empty frame', new Uint8Array(0)],
  ])('%s', (_name, packet) => {
    const out = coalesce([part(0), part(1), packet]);
    expect(out.map(({ gsoSize }) => gsoSize)).toEqual([MSS, 0]);
    expect(out[1]?.bytes).toEqual(packet);
  });
});

test.each([
  ['another traffic class', { trafficClass: 3 }],
  ['another hop limit', { ttl: 63 }],
  ['another source', { source: 'fd00::9' }],
  ['another destination', { destination: 'fd00::9' }],
])('over IPv6 too, %s ends a run', (_name, fields) => {
  const packets = [part(0, IPV6), part(1, IPV6), part(2, { ...IPV6, ...fields })];
  expect(coalesce(packets).map(({ gsoSize }) => gsoSize)).toEqual([MSS, 0]);
});

test.each([
  ['fragments', { fragmentWord: 0x2000, identification: 7 }],
  ['packets with IPv4 options', { extra: hex('01010101') }],
  [
    'packets with extension headers',
    { ...IPV6, extensionHeader: 60, extra: hex('0600010400000000') },
  ],
])('%s are not merged, not even with their like', (_name, fields) => {
  const packets = [part(0, fields), part(1, { ...fields, identification: 8 })];
  expect(coalesce(packets)).toEqual(packets.map((bytes) => ({ bytes, gsoSize: 0 })));
});

test('a first segment with a wrong checksum takes nobody with it', () => {
  const wrong = part(0);
  viewOf(wrong).setUint16(36, 0xdead);
  expect(payloads([wrong, part(1), part(2)])).toEqual([MSS, 2 * MSS]);
});

test('PSH and a shorter payload are the last of a run', () => {
  expect(payloads([part(0), part(1, { flags: ACK | PSH }), part(2)])).toEqual([2 * MSS, MSS]);
  const short = part(1, { payload: pattern(10) });
  const next = part(0, { seq: (0xffffff00 + MSS + 10) >>> 0 });
  expect(payloads([part(0), short, next])).toEqual([MSS + 10, MSS]);
});

test('a superpacket is at most 65,535 bytes long', () => {
  const out = coalesce(Array.from({ length: 50 }, (_, index) => part(index)));
  expect(out.map(({ bytes }) => bytes.length - 52)).toEqual([45 * MSS, 5 * MSS]);
});

test('coalescing allocates nothing', () => {
  const packets = concat([part(0), part(1), part(2), part(3, { flags: ACK | PSH })]);
  const arena = new Arena(new ArrayBuffer(Coalescer.BYTES + packets.length + 64));
  let bytes = 0;
  const coalescer = new Coalescer(arena, (at, end) => {
    bytes += end - at;
  });
  const slotsAt = arena.take(packets.length);
  arena.bytes.set(packets, slotsAt);
  const run = () => {
    for (let i = 0; i < 4; i++) coalescer.push(slotsAt + i * 1500, slotsAt + (i + 1) * 1500);
  };
  expect(allocatedTypes(run)).toEqual([]);
  const superpacketBytes = 4 * MSS + 52;
  expect(bytes).toBeGreaterThan(superpacketBytes);
  expect(bytes % superpacketBytes).toBe(0);
});

describe('datagrams', () => {
  const SIZE = 600;
  const datagram = (index: number, fields: Parameters<typeof udpPacket>[0] = {}) =>
    udpPacket({ payload: pattern(SIZE, index), ...fields });
  const sizes = (packets: readonly Uint8Array[]) =>
    coalesce(packets).map(({ bytes, gsoSize }) => [bytes.length - 28, gsoSize]);

  test('of one length become one superpacket, a shorter one ends it', () => {
    expect(sizes([0, 1, 2].map((i) => datagram(i)))).toEqual([[3 * SIZE, SIZE]]);
    const short = datagram(2, { payload: pattern(10) });
    expect(sizes([datagram(0), datagram(1), short, datagram(3)])).toEqual([
      [2 * SIZE + 10, SIZE],
      [SIZE, 0],
    ]);
  });

  test('are 64 at most, as UDP_SEGMENT takes no more', () => {
    const small = Array.from({ length: 70 }, (_, i) => datagram(i, { payload: pattern(8, i) }));
    expect(sizes(small)).toEqual([
      [64 * 8, 8],
      [6 * 8, 8],
    ]);
  });

  const withoutSum = datagram(2);
  viewOf(withoutSum).setUint16(26, 0);
  const wrong = datagram(2);
  viewOf(wrong).setUint16(26, 0xdead);
  test.each([
    ['another source port', datagram(2, { sourcePort: 9 })],
    ['another destination', datagram(2, { destination: '10.0.0.9' })],
    ['another traffic class', datagram(2, { trafficClass: 3 })],
    ['a longer payload', datagram(2, { payload: pattern(SIZE + 1) })],
    ['no payload', datagram(2, { payload: new Uint8Array(0) })],
    ['no checksum', withoutSum],
    ['a wrong checksum', wrong],
    ['a fragment', datagram(2, { fragmentWord: 0x2000 })],
    ['TCP', part(2)],
  ])('%s ends a run, and comes out behind it', (_name, packet) => {
    const out = coalesce([datagram(0), datagram(1), packet]);
    expect(out.map(({ gsoSize }) => gsoSize)).toEqual([SIZE, 0]);
    expect(out[1]?.bytes).toEqual(packet);
  });
});
