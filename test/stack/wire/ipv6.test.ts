import { describe, expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import * as ipv6 from '../../../src/stack/wire/ipv6.ts';
import { KERNEL_PACKETS } from '../../support/kernel-packets.ts';
import { concat, hex, tcpPacket, viewOf } from '../../support/packet-builder.ts';

const SOURCE = 'fd00::1';
const DESTINATION = 'fd00::2';

const check = (bytes: Uint8Array): DropReason => ipv6.checkIpv6(viewOf(bytes), 0, bytes.length);
const packet = (fields: Parameters<typeof tcpPacket>[0] = {}): Uint8Array =>
  tcpPacket({ source: SOURCE, destination: DESTINATION, ...fields });

test('a header from the kernel reads as it was sent', () => {
  const view = viewOf(KERNEL_PACKETS.udpV6);
  expect(check(KERNEL_PACKETS.udpV6)).toBe(DropReason.NONE);
  expect(ipv6.payloadLength(view, 0)).toBe(15);
  expect(ipv6.ipv6End(view, 0)).toBe(55);
  expect(ipv6.nextHeader(view, 0)).toBe(17);
  expect(ipv6.hopLimit(view, 0)).toBe(64);
});

test('the traffic class lies across two bytes', () => {
  const view = viewOf(packet({ trafficClass: 0xb9 }));
  expect(ipv6.trafficClass(view, 0)).toBe(0xb9);
  expect(ipv6.ecn(view, 0)).toBe(1);
});

describe('refused', () => {
  test.each([
    ['39 bytes', packet().slice(0, 39), DropReason.FRAME_TOO_SHORT],
    ['version 4', packet().with(0, 0x45), DropReason.BAD_IP_VERSION],
    ['payload over the frame', packet().with(5, 21), DropReason.BAD_IP_LENGTH],
    ['unspecified source', packet({ source: '::' }), DropReason.BAD_SOURCE_ADDRESS],
    ['loopback source', packet({ source: '::1' }), DropReason.BAD_SOURCE_ADDRESS],
    ['multicast source', packet({ source: 'ff02::1' }), DropReason.BAD_SOURCE_ADDRESS],
    ['mapped source', packet({ source: '::ffff:1.2.3.4' }), DropReason.BAD_SOURCE_ADDRESS],
    ['loopback destination', packet({ destination: '::1' }), DropReason.BAD_DESTINATION_ADDRESS],
    ['unspecified destination', packet({ destination: '::' }), DropReason.BAD_DESTINATION_ADDRESS],
    [
      'mapped loopback',
      packet({ destination: '::ffff:127.0.0.1' }),
      DropReason.BAD_DESTINATION_ADDRESS,
    ],
  ])('%s', (_name, bytes, reason) => {
    expect(check(bytes)).toBe(reason);
  });
});

test('emitIpv6Header writes what the kernel would, with flow label 0', () => {
  const bytes = concat([new Uint8Array(40).fill(0xee), KERNEL_PACKETS.udpV6]);
  ipv6.emitIpv6Header(viewOf(bytes), 0, 15, 17, 64, 0, 40 + 8, 40 + 24);
  const expected = KERNEL_PACKETS.udpV6.slice(0, 40);
  viewOf(expected).setUint32(0, 0x60000000);
  expect(bytes.slice(0, 40)).toEqual(expected);
  ipv6.emitIpv6Header(viewOf(bytes), 0, 15, 17, 64, 0xff, 48, 64);
  expect(viewOf(bytes).getUint32(0)).toBe(0x6ff00000);
});

describe('ExtensionWalk', () => {
  /** Walks a packet whose extension headers are `extra`, of which the first is a `first`. */
  function walk(first: number, extra: string): [DropReason, ipv6.ExtensionWalk] {
    const bytes = packet({ extensionHeader: first, extra: hex(extra) });
    const walker = new ipv6.ExtensionWalk();
    return [walker.walk(viewOf(bytes), 0, bytes.length), walker];
  }

  test('finds a transport that follows at once', () => {
    const [reason, walker] = walk(6, '');
    expect([reason, walker.protocol, walker.transportAt]).toEqual([DropReason.NONE, 6, 40]);
    expect(walker.protocolFieldAt).toBe(6);
  });

  test('steps over hop-by-hop, destination options and a routing header with nothing left', () => {
    const [reason, walker] = walk(
      0,
      // Router alert and PadN; PadN; routing with 0 segments left, two units long.
      `3c00 0502000001 00   2b00 010400000000   0601 000000000000 0000000000000000`,
    );
    expect([reason, walker.protocol, walker.transportAt]).toEqual([DropReason.NONE, 6, 72]);
    expect(walker.protocolFieldAt).toBe(72 - 16);
    expect(walker.isFragment).toBe(false);
  });

  test.each([
    ['offset 8', '0600000800000001'],
    ['M set', '0600000100000001'],
    ['both', '0600000900000001'],
  ])('reports a fragment: %s', (_name, header) => {
    const [reason, walker] = walk(44, header);
    expect([reason, walker.protocol, walker.isFragment]).toEqual([DropReason.NONE, 6, true]);
  });

  test('does not read on inside a fragment', () => {
    const [reason, walker] = walk(44, '3c00000800000001');
    expect([reason, walker.protocol, walker.transportAt]).toEqual([DropReason.NONE, 60, 48]);
  });

  test('takes an atomic fragment (RFC 6946) for a whole packet, reserved bits or not', () => {
    const [reason, walker] = walk(44, '0600000600000001');
    expect([reason, walker.isFragment, walker.transportAt]).toEqual([DropReason.NONE, false, 48]);
  });

  test('leaves what it does not know to the caller', () => {
    expect(walk(59, '')[1].protocol).toBe(59);
    expect(walk(50, '')[1].protocol).toBe(50);
  });

  test('forgets the fragment of the packet before', () => {
    const walker = walk(44, '0600000800000001')[1];
    walker.walk(viewOf(packet()), 0, 60);
    expect(walker.isFragment).toBe(false);
  });

  test.each([
    ['hop-by-hop that is not first', 60, '0000010400000000 0600010400000000'],
    ['a routing header with a segment left', 43, '0600000100000000'],
    ['a header that runs over the end', 60, '06ff010400000000'],
    ['an option that runs over its header', 60, '0600010500000000'],
    ['an option without a length', 60, '0600010300000005'],
    ['an unknown option that wants a discard', 60, '0600410400000000'],
    ['a jumbo payload', 0, '0600c20400010000'],
    ['nine extension headers', 60, `${'3c00010400000000'.repeat(8)}0600010400000000`],
  ])('refuses %s', (_name, first, extra) => {
    expect(walk(first, extra)[0]).toBe(DropReason.BAD_EXTENSION_HEADER);
  });

  test('takes eight extension headers', () => {
    const [reason, walker] = walk(60, `${'3c00010400000000'.repeat(7)}0600010400000000`);
    expect([reason, walker.protocol]).toEqual([DropReason.NONE, 6]);
  });

  test('refuses an extension header that is cut off', () => {
    const bytes = packet({ extensionHeader: 60, extra: hex('0600010400000000') });
    const walker = new ipv6.ExtensionWalk();
    expect(walker.walk(viewOf(bytes), 0, 47)).toBe(DropReason.BAD_EXTENSION_HEADER);
  });
});
