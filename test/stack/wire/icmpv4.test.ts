import { expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import { echoIdentifier, emitEchoReply, icmpType } from '../../../src/stack/wire/icmp.ts';
import * as icmpv4 from '../../../src/stack/wire/icmpv4.ts';
import { KERNEL_PACKETS } from '../../support/kernel-packets.ts';
import {
  concat,
  icmpPacket,
  ipPacket,
  pattern,
  tcpPacket,
  viewOf,
} from '../../support/packet-builder.ts';

const { echoRequestV4 } = KERNEL_PACKETS;

test('the checksum of an echo request from the kernel is right until a bit flips', () => {
  const bytes = echoRequestV4.slice();
  expect(icmpv4.checkIcmpv4(viewOf(bytes), 20, 36)).toBe(DropReason.NONE);
  expect(icmpType(viewOf(bytes), 20)).toBe(icmpv4.Icmpv4Type.ECHO_REQUEST);
  expect(echoIdentifier(viewOf(bytes), 20)).toBe(0x2e04);
  bytes[35] = 0;
  expect(icmpv4.checkIcmpv4(viewOf(bytes), 20, 36)).toBe(DropReason.BAD_ICMP_CHECKSUM);
  expect(icmpv4.checkIcmpv4(viewOf(bytes), 20, 27)).toBe(DropReason.BAD_ICMP_HEADER);
});

test.each([
  ['in place', 20],
  ['elsewhere', 64],
])('an echo reply %s differs in type and checksum only', (_name, at) => {
  const bytes = concat([echoRequestV4, new Uint8Array(64)]);
  emitEchoReply(viewOf(bytes), at, 20, 16, icmpv4.Icmpv4Type.ECHO_REPLY);
  expect(icmpv4.checkIcmpv4(viewOf(bytes), at, at + 16)).toBe(DropReason.NONE);
  expect(bytes[at]).toBe(icmpv4.Icmpv4Type.ECHO_REPLY);
  expect(bytes.slice(at + 4, at + 16)).toEqual(echoRequestV4.slice(24, 36));
});

test('an error quotes a short packet whole', () => {
  const packet = tcpPacket();
  const bytes = concat([packet, new Uint8Array(600).fill(0xee)]);
  const code = icmpv4.Icmpv4Unreachable.PORT;
  const length = icmpv4.emitErrorV4(viewOf(bytes), 100, 3, code, 0, 0, packet.length);
  expect(length).toBe(48);
  expect(icmpv4.checkIcmpv4(viewOf(bytes), 100, 148)).toBe(DropReason.NONE);
  expect(bytes.slice(100, 108).with(2, 0).with(3, 0)).toEqual(
    Uint8Array.of(3, 3, 0, 0, 0, 0, 0, 0),
  );
  expect(bytes.slice(108, 148)).toEqual(packet);
  expect(bytes[148]).toBe(0xee);
});

test('an error is at most 576 bytes long with its IP header (RFC 1812 §4.3.2.3)', () => {
  const bytes = concat([tcpPacket({ payload: pattern(1460) }), new Uint8Array(600)]);
  const length = icmpv4.emitErrorV4(viewOf(bytes), 1500, 3, 4, 1400, 0, 1500);
  expect(length).toBe(576 - 20);
  expect(viewOf(bytes).getUint32(1504)).toBe(1400);
  expect(bytes.slice(1508, 1500 + length)).toEqual(bytes.slice(0, 548));
  expect(icmpv4.checkIcmpv4(viewOf(bytes), 1500, 1500 + length)).toBe(DropReason.NONE);
});

test.each([
  [
    'time exceeded',
    icmpv4.Icmpv4Type.TIME_EXCEEDED,
    icmpv4.Icmpv4TimeExceeded.TTL,
    0,
    '0b0000000000',
  ],
  ['parameter problem', icmpv4.Icmpv4Type.PARAMETER_PROBLEM, 0, 9 << 24, '0c0009000000'],
  ['fragmentation needed', icmpv4.Icmpv4Type.UNREACHABLE, 4, 1280, '030400000500'],
  ['protocol unreachable', icmpv4.Icmpv4Type.UNREACHABLE, 2, 0, '030200000000'],
])('%s quotes a packet of any protocol', (_name, type, code, parameter, header) => {
  const packet = ipPacket({}, 132, pattern(300), -1);
  const bytes = concat([packet, new Uint8Array(600)]);
  const view = viewOf(bytes);
  const length = icmpv4.emitErrorV4(view, 400, type, code, parameter, 0, packet.length);
  expect(length).toBe(8 + packet.length);
  expect(icmpv4.checkIcmpv4(view, 400, 400 + length)).toBe(DropReason.NONE);
  const written = bytes.slice(400, 408);
  expect(concat([written.slice(0, 2), written.slice(4)]).toHex()).toBe(header);
  expect(bytes.slice(408, 400 + length)).toEqual(packet);
});

test('errors are told from questions and answers', () => {
  const errors = [];
  for (let type = 0; type < 256; type++) {
    const bytes = icmpPacket({ type });
    if (icmpv4.isIcmpError(viewOf(bytes), 20)) errors.push(type);
  }
  expect(errors).toEqual([3, 4, 5, 11, 12]);
});
