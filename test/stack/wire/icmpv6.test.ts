import { expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import { echoIdentifier, emitEchoReply, icmpType } from '../../../src/stack/wire/icmp.ts';
import * as icmpv6 from '../../../src/stack/wire/icmpv6.ts';
import { KERNEL_PACKETS } from '../../support/kernel-packets.ts';
import {
  concat,
  icmpPacket,
  ipPacket,
  pattern,
  tcpPacket,
  viewOf,
} from '../../support/packet-builder.ts';

const { echoRequestV6 } = KERNEL_PACKETS;

test('the checksum of an echo request from the kernel is right until a bit flips', () => {
  const bytes = echoRequestV6.slice();
  const view = viewOf(bytes);
  expect(icmpv6.checkIcmpv6(view, 8, 24, 40, 56)).toBe(DropReason.NONE);
  expect(icmpType(view, 40)).toBe(icmpv6.Icmpv6Type.ECHO_REQUEST);
  expect(echoIdentifier(view, 40)).toBe(0x2e05);
  expect(icmpv6.checkIcmpv6(view, 8, 24, 40, 47)).toBe(DropReason.BAD_ICMP_HEADER);
  bytes[39] = 3;
  expect(icmpv6.checkIcmpv6(view, 8, 24, 40, 56)).toBe(DropReason.BAD_ICMP_CHECKSUM);
});

test.each([
  ['in place', 40],
  ['elsewhere', 80],
])('an echo reply %s is right with the addresses swapped', (_name, at) => {
  const bytes = concat([echoRequestV6, new Uint8Array(64)]);
  emitEchoReply(viewOf(bytes), at, 40, 16, icmpv6.Icmpv6Type.ECHO_REPLY);
  expect(icmpv6.checkIcmpv6(viewOf(bytes), 24, 8, at, at + 16)).toBe(DropReason.NONE);
  expect(bytes[at]).toBe(icmpv6.Icmpv6Type.ECHO_REPLY);
  expect(bytes.slice(at + 4, at + 16)).toEqual(echoRequestV6.slice(44, 56));
});

test('an error fits into 1280 bytes with its IP header (RFC 4443 §3.1)', () => {
  const source = 'fd00::1';
  const destination = 'fd00::2';
  const packet = tcpPacket({ source, destination, payload: pattern(1440) });
  const bytes = concat([packet, new Uint8Array(1300)]);
  const view = viewOf(bytes);
  const code = icmpv6.Icmpv6Unreachable.PORT;
  const length = icmpv6.emitErrorV6(view, 24, 8, 1500, 1, code, 0, 0, 1500);
  expect(length).toBe(1280 - 40);
  expect([bytes[1500], bytes[1501], view.getUint32(1504)]).toEqual([1, 4, 0]);
  expect(bytes.slice(1508, 1500 + length)).toEqual(bytes.slice(0, 1232));
  expect(icmpv6.checkIcmpv6(view, 24, 8, 1500, 1500 + length)).toBe(DropReason.NONE);
});

test.each([
  [
    'time exceeded',
    icmpv6.Icmpv6Type.TIME_EXCEEDED,
    icmpv6.Icmpv6TimeExceeded.HOP_LIMIT,
    0,
    '030000000000',
  ],
  ['packet too big', icmpv6.Icmpv6Type.PACKET_TOO_BIG, 0, 1400, '020000000578'],
  [
    'parameter problem',
    icmpv6.Icmpv6Type.PARAMETER_PROBLEM,
    icmpv6.Icmpv6ParameterProblem.UNRECOGNIZED_NEXT_HEADER,
    40,
    '040100000028',
  ],
])('%s quotes a packet of any protocol', (_name, type, code, parameter, header) => {
  const packet = ipPacket({ source: 'fd00::1', destination: 'fd00::2' }, 132, pattern(300), -1);
  const bytes = concat([packet, new Uint8Array(600)]);
  const view = viewOf(bytes);
  const length = icmpv6.emitErrorV6(view, 24, 8, 400, type, code, parameter, 0, packet.length);
  expect(length).toBe(8 + packet.length);
  expect(icmpv6.checkIcmpv6(view, 24, 8, 400, 400 + length)).toBe(DropReason.NONE);
  const written = bytes.slice(400, 408);
  expect(concat([written.slice(0, 2), written.slice(4)]).toHex()).toBe(header);
  expect(bytes.slice(408, 400 + length)).toEqual(packet);
});

test('types below 128 are errors', () => {
  const source = 'fd00::1';
  const destination = 'fd00::2';
  const isError = (type: number) =>
    icmpv6.isIcmpError(viewOf(icmpPacket({ source, destination, type })), 40);
  expect([0, 1, 4, 127, 128, 129, 255].map(isError)).toEqual([
    true,
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});
