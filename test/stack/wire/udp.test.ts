import { describe, expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import * as udp from '../../../src/stack/wire/udp.ts';
import { KERNEL_PACKETS } from '../../support/kernel-packets.ts';
import { udpPacket, viewOf } from '../../support/packet-builder.ts';

test('a datagram from the kernel reads as it was sent', () => {
  const view = viewOf(KERNEL_PACKETS.udpV4);
  expect(udp.checkUdp(view, 20, 35)).toBe(DropReason.NONE);
  expect(udp.sourcePort(view, 20)).toBe(0x8b28);
  expect(udp.destinationPort(view, 20)).toBe(9);
  expect(udp.datagramLength(view, 20)).toBe(15);
  expect(udp.checksumField(view, 20)).toBe(0xb72b);
});

test.each([
  ['IPv4', KERNEL_PACKETS.udpV4, 12, 16, 4, 20],
  ['IPv6', KERNEL_PACKETS.udpV6, 8, 24, 16, 40],
])('over %s the kernel and we agree about the checksum', (_name, packet, s, d, n, at) => {
  const bytes = packet.slice();
  const view = viewOf(bytes);
  expect(udp.udpChecksumValid(view, s, d, n, at)).toBe(true);
  bytes[at + 8] = 0;
  expect(udp.udpChecksumValid(view, s, d, n, at)).toBe(false);
  bytes.set(packet);
  view.setUint16(at + 6, 0xdead);
  udp.emitUdpChecksum(view, s, d, n, at);
  expect(bytes).toEqual(packet);
});

test('checksum zero is none: right over IPv4, wrong over IPv6', () => {
  const v4 = viewOf(KERNEL_PACKETS.udpV4.slice());
  v4.setUint16(26, 0);
  expect(udp.udpChecksumValid(v4, 12, 16, 4, 20)).toBe(true);
  const v6 = viewOf(KERNEL_PACKETS.udpV6.slice());
  v6.setUint16(46, 0);
  expect(udp.udpChecksumValid(v6, 8, 24, 16, 40)).toBe(false);
});

test('a checksum that comes out as zero is sent as ffff (RFC 768)', () => {
  // The payload word that makes the sum ffff is the checksum with a zero word in its place.
  const bytes = udpPacket({ payload: new Uint8Array(2) });
  const view = viewOf(bytes);
  view.setUint16(28, udp.checksumField(view, 20));
  udp.emitUdpChecksum(view, 12, 16, 4, 20);
  expect(udp.checksumField(view, 20)).toBe(0xffff);
  expect(udp.udpChecksumValid(view, 12, 16, 4, 20)).toBe(true);
});

test('emitUdpHeader writes what the accessors read', () => {
  const view = viewOf(new Uint8Array(9).fill(0xee));
  udp.emitUdpHeader(view, 1, 53, 40_000, 512);
  expect(udp.sourcePort(view, 1)).toBe(53);
  expect(udp.destinationPort(view, 1)).toBe(40_000);
  expect(udp.datagramLength(view, 1)).toBe(512);
  expect(udp.checksumField(view, 1)).toBe(0);
});

describe('checkUdp refuses', () => {
  const packet = udpPacket({ payload: new Uint8Array(4) });
  test.each([
    ['7 bytes', packet, 27],
    ['a length under 8', packet.with(25, 7), 32],
    ['a length over the packet', packet.with(25, 13), 32],
  ])('%s', (_name, bytes, end) => {
    expect(udp.checkUdp(viewOf(bytes), 20, end)).toBe(DropReason.BAD_UDP_HEADER);
  });

  test('but not bytes behind the datagram', () => {
    expect(udp.checkUdp(viewOf(packet.with(25, 11)), 20, 32)).toBe(DropReason.NONE);
  });
});
