import { describe, expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import { asSeq } from '../../../src/stack/wire/seq.ts';
import * as tcp from '../../../src/stack/wire/tcp.ts';
import { KERNEL_PACKETS, KERNEL_VNET_FRAMES } from '../../support/kernel-packets.ts';
import { hex, pattern, tcpPacket, viewOf } from '../../support/packet-builder.ts';

const { FIN, SYN, RST, PSH, ACK, URG, ECE, CWR } = tcp.TcpFlag;

test('a SYN from the kernel reads as it was sent', () => {
  const view = viewOf(KERNEL_PACKETS.tcpSynV4);
  expect(tcp.checkTcp(view, 20, 60)).toBe(DropReason.NONE);
  expect(tcp.sourcePort(view, 20)).toBe(0xd2fa);
  expect(tcp.destinationPort(view, 20)).toBe(8080);
  expect(tcp.sequence(view, 20)).toBe(asSeq(0xbe2daff6));
  expect(tcp.acknowledgment(view, 20)).toBe(asSeq(0));
  expect(tcp.headerLength(view, 20)).toBe(40);
  expect(tcp.flags(view, 20)).toBe(SYN);
  expect(tcp.window(view, 20)).toBe(64_240);
  expect(tcp.checksumField(view, 20)).toBe(0x6fee);
  expect(tcp.urgentPointer(view, 20)).toBe(0);
});

test.each([
  ['IPv4', KERNEL_PACKETS.tcpSynV4, 12, 16, 4, 20],
  ['IPv6', KERNEL_PACKETS.tcpSynV6, 8, 24, 16, 40],
])('the checksum of a SYN over %s is right until a bit flips', (_name, packet, s, d, n, at) => {
  const bytes = packet.slice();
  expect(tcp.tcpChecksumValid(viewOf(bytes), s, d, n, at, bytes.length)).toBe(true);
  for (let i = 0; i < bytes.length; i++) {
    // The IP header outside its addresses is not covered.
    if (i < s) continue;
    bytes[i] = (bytes[i] ?? 0) ^ 0x10;
    expect(tcp.tcpChecksumValid(viewOf(bytes), s, d, n, at, bytes.length)).toBe(false);
    bytes[i] = (bytes[i] ?? 0) ^ 0x10;
  }
});

test('emitTcpChecksum finds the checksum of the kernel', () => {
  const bytes = KERNEL_PACKETS.tcpSynV6.slice();
  viewOf(bytes).setUint16(40 + 16, 0xdead);
  tcp.emitTcpChecksum(viewOf(bytes), 8, 24, 16, 40, bytes.length);
  expect(bytes).toEqual(KERNEL_PACKETS.tcpSynV6);
});

test.each([
  ['IPv4', KERNEL_VNET_FRAMES.tcpSynV4, 22, 26, 4, 30],
  ['IPv6', KERNEL_VNET_FRAMES.tcpSynV6, 18, 34, 16, 50],
])('emitTcpPartialChecksum writes what the kernel leaves with NEEDS_CSUM over %s', (...row) => {
  const [, frame, sourceAt, destinationAt, addressLength, at] = row;
  const bytes = frame.slice();
  const view = viewOf(bytes);
  view.setUint16(at + 16, 0xdead);
  tcp.emitTcpPartialChecksum(view, sourceAt, destinationAt, addressLength, at, bytes.length);
  expect(bytes).toEqual(frame);
});

test('emitTcpHeader writes what the accessors read, over whatever was there', () => {
  const view = viewOf(new Uint8Array(64).fill(0xee));
  tcp.emitTcpHeader(view, 3, 443, 50_000, asSeq(0xfffffffe), asSeq(7), 32, ACK | PSH, 501);
  expect(tcp.sourcePort(view, 3)).toBe(443);
  expect(tcp.destinationPort(view, 3)).toBe(50_000);
  expect(tcp.sequence(view, 3)).toBe(asSeq(0xfffffffe));
  expect(tcp.acknowledgment(view, 3)).toBe(asSeq(7));
  expect(tcp.headerLength(view, 3)).toBe(32);
  expect(tcp.flags(view, 3)).toBe(ACK | PSH);
  expect(tcp.window(view, 3)).toBe(501);
  expect(tcp.checksumField(view, 3)).toBe(0);
  expect(tcp.urgentPointer(view, 3)).toBe(0);
  expect(view.getUint8(3 + 12) & 0xf).toBe(0);
  expect([view.getUint8(2), view.getUint8(23)]).toEqual([0xee, 0xee]);
});

describe('checkTcp', () => {
  const check = (packet: Uint8Array, end = packet.length) => tcp.checkTcp(viewOf(packet), 20, end);

  test('takes a header that fills the segment', () => {
    expect(check(tcpPacket({ options: new Uint8Array(40) }))).toBe(DropReason.NONE);
  });

  test.each([
    ['19 bytes', tcpPacket(), 39],
    ['a data offset of 4 words', tcpPacket().with(32, 0x40), 40],
    ['a data offset over the segment', tcpPacket().with(32, 0x60), 40],
    ['options that are cut off', tcpPacket({ options: hex('01010101') }), 43],
  ])('refuses %s', (_name, packet, end) => {
    expect(check(packet, end)).toBe(DropReason.BAD_TCP_HEADER);
  });

  test('refuses exactly the flags that no TCP sends', () => {
    for (let flags = 0; flags < 256; flags++) {
      const isSyn = (flags & SYN) !== 0;
      const isFinOfRequest = (flags & (FIN | ACK)) === FIN;
      const isBad = flags === 0 || (isSyn && ((flags & RST) !== 0 || isFinOfRequest));
      const expected = isBad ? DropReason.BAD_TCP_FLAGS : DropReason.NONE;
      expect(check(tcpPacket({ flags, payload: pattern(3) }))).toBe(expected);
    }
  });

  test('takes the flags of a SYN that asks for ECN', () => {
    expect(check(tcpPacket({ flags: SYN | ECE | CWR }))).toBe(DropReason.NONE);
    expect(check(tcpPacket({ flags: FIN | PSH | ACK | URG }))).toBe(DropReason.NONE);
  });
});
