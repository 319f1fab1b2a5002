import { describe, expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import * as ipv4 from '../../../src/stack/wire/ipv4.ts';
import { KERNEL_PACKETS } from '../../support/kernel-packets.ts';
import { concat, hex, referenceChecksum, tcpPacket, viewOf } from '../../support/packet-builder.ts';

const check = (bytes: Uint8Array): DropReason => ipv4.checkIpv4(viewOf(bytes), 0, bytes.length);

/** A packet with `value` at byte `at` of its header, and a header checksum that is right. */
function patched(at: number, value: number): Uint8Array {
  const packet = tcpPacket();
  packet[at] = value;
  const view = viewOf(packet);
  view.setUint16(10, 0);
  view.setUint16(10, referenceChecksum(packet.slice(0, 20)));
  return packet;
}

test('a header from the kernel reads as it was sent', () => {
  const view = viewOf(KERNEL_PACKETS.udpV4);
  expect(check(KERNEL_PACKETS.udpV4)).toBe(DropReason.NONE);
  expect(ipv4.version(view, 0)).toBe(4);
  expect(ipv4.headerLength(view, 0)).toBe(20);
  expect(ipv4.totalLength(view, 0)).toBe(35);
  expect(ipv4.identification(view, 0)).toBe(0x412a);
  expect(ipv4.isFragment(view, 0)).toBe(false);
  expect(ipv4.isAtomic(view, 0)).toBe(true);
  expect(ipv4.ttl(view, 0)).toBe(64);
  expect(ipv4.protocol(view, 0)).toBe(17);
});

test('padding behind the packet is allowed and outside its end', () => {
  const padded = concat([tcpPacket(), new Uint8Array(6)]);
  expect(check(padded)).toBe(DropReason.NONE);
  expect(ipv4.ipv4End(viewOf(padded), 0)).toBe(40);
});

test('options are part of the header', () => {
  const packet = tcpPacket({ extra: hex('01010101') });
  expect(check(packet)).toBe(DropReason.NONE);
  expect(ipv4.headerLength(viewOf(packet), 0)).toBe(24);
});

test('ECN is the low two bits of the traffic class', () => {
  const view = viewOf(tcpPacket({ trafficClass: 0xb9 }));
  expect(ipv4.trafficClass(view, 0)).toBe(0xb9);
  expect(ipv4.ecn(view, 0)).toBe(1);
});

test.each([
  [0x0000, false],
  [0x4000, false],
  [0x8000, false],
  [0x2000, true],
  [0x0001, true],
  [0x1fff, true],
])('flags and offset %p: fragment %p', (fragmentWord, expected) => {
  expect(ipv4.isFragment(viewOf(tcpPacket({ fragmentWord })), 0)).toBe(expected);
});

describe('refused', () => {
  test.each([
    ['19 bytes', tcpPacket().slice(0, 19), DropReason.FRAME_TOO_SHORT],
    ['version 5', patched(0, 0x55), DropReason.BAD_IP_VERSION],
    ['header of 16 bytes', patched(0, 0x44), DropReason.BAD_IP_HEADER],
    ['header longer than the frame', patched(0, 0x4f), DropReason.BAD_IP_HEADER],
    ['total length over the frame', patched(3, 41), DropReason.BAD_IP_LENGTH],
    ['total length under the header', patched(3, 19), DropReason.BAD_IP_LENGTH],
    ['a flipped bit', tcpPacket().with(8, 63), DropReason.BAD_IP_CHECKSUM],
    ['unspecified source', tcpPacket({ source: '0.0.0.0' }), DropReason.BAD_SOURCE_ADDRESS],
    ['loopback source', tcpPacket({ source: '127.0.0.1' }), DropReason.BAD_SOURCE_ADDRESS],
    ['multicast source', tcpPacket({ source: '224.0.0.1' }), DropReason.BAD_SOURCE_ADDRESS],
    ['broadcast source', tcpPacket({ source: '255.255.255.255' }), DropReason.BAD_SOURCE_ADDRESS],
    [
      'loopback destination',
      tcpPacket({ destination: '127.0.0.1' }),
      DropReason.BAD_DESTINATION_ADDRESS,
    ],
    [
      'unspecified destination',
      tcpPacket({ destination: '0.0.0.0' }),
      DropReason.BAD_DESTINATION_ADDRESS,
    ],
  ])('%s', (_name, packet, reason) => {
    expect(check(packet)).toBe(reason);
  });
});

test('emitIpv4Header writes what the kernel would, with DF and identification 0', () => {
  const bytes = concat([new Uint8Array(20), KERNEL_PACKETS.udpV4]);
  const view = viewOf(bytes);
  ipv4.emitIpv4Header(view, 0, 35, 17, 64, 0, 20 + 12, 20 + 16);
  const expected = KERNEL_PACKETS.udpV4.slice(0, 20);
  viewOf(expected).setUint16(4, 0);
  viewOf(expected).setUint16(10, 0);
  viewOf(expected).setUint16(10, referenceChecksum(expected));
  expect(bytes.slice(0, 20)).toEqual(expected);
});

test('refreshHeaderChecksum finds the checksum that the kernel wrote', () => {
  const bytes = KERNEL_PACKETS.tcpSynV4.slice();
  viewOf(bytes).setUint16(10, 0x1234);
  ipv4.refreshHeaderChecksum(viewOf(bytes), 0);
  expect(bytes).toEqual(KERNEL_PACKETS.tcpSynV4);
});
