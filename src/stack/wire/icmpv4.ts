/** ICMP for IPv4, RFC 792. */
import { DropReason } from '../drop-reason.ts';
import { checksum } from './checksum.ts';
import { emitQuote, ICMP_HEADER_BYTES, IcmpField, icmpType } from './icmp.ts';
import { IPV4_HEADER_BYTES } from './ipv4.ts';

export const Icmpv4Type = {
  ECHO_REPLY: 0,
  UNREACHABLE: 3,
  SOURCE_QUENCH: 4,
  REDIRECT: 5,
  ECHO_REQUEST: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
} as const;

/** Codes of UNREACHABLE: RFC 792, RFC 1812 §5.2.7.1. */
export const Icmpv4Unreachable = {
  NETWORK: 0,
  HOST: 1,
  PROTOCOL: 2,
  PORT: 3,
  FRAGMENTATION_NEEDED: 4,
  ADMINISTRATIVELY_PROHIBITED: 13,
} as const;

/** Codes of TIME_EXCEEDED. */
export const Icmpv4TimeExceeded = { TTL: 0, REASSEMBLY: 1 } as const;

/** RFC 1812 §4.3.2.3: an error is at most this long, its IP header included. */
const MAX_ERROR_BYTES = 576;
const MAX_QUOTED_BYTES = MAX_ERROR_BYTES - IPV4_HEADER_BYTES - ICMP_HEADER_BYTES;

/** The door check of the message in [at, end), its checksum included. */
export function checkIcmpv4(view: DataView, at: number, end: number): DropReason {
  if (end - at < ICMP_HEADER_BYTES) return DropReason.BAD_ICMP_HEADER;
  return checksum(view, at, end - at) === 0 ? DropReason.NONE : DropReason.BAD_ICMP_CHECKSUM;
}

/** An error is never answered with an error: RFC 1122 §3.2.2. */
export function isIcmpError(view: DataView, at: number): boolean {
  switch (icmpType(view, at)) {
    case Icmpv4Type.UNREACHABLE:
    case Icmpv4Type.SOURCE_QUENCH:
    case Icmpv4Type.REDIRECT:
    case Icmpv4Type.TIME_EXCEEDED:
    case Icmpv4Type.PARAMETER_PROBLEM:
      return true;
    default:
      return false;
  }
}

/**
 * Writes an ICMP error that quotes the packet at `quotedAt`, of any protocol and with whatever
 * checksums it has, as much of it as fits.
 *
 * @param parameter  uint32 behind the checksum: the next-hop MTU of FRAGMENTATION_NEEDED (RFC 1191
 *                   §4), the pointer of PARAMETER_PROBLEM in its first byte, else 0
 * @param quotedAt   IP header of the packet; must not overlap what is written
 * @returns          bytes written, the IP header before them not counted
 */
export function emitErrorV4(
  view: DataView,
  at: number,
  type: number,
  code: number,
  parameter: number,
  quotedAt: number,
  quotedLength: number,
): number {
  const quoted = Math.min(quotedLength, MAX_QUOTED_BYTES);
  const length = emitQuote(view, at, type, code, parameter, quotedAt, quoted);
  view.setUint16(at + IcmpField.CHECKSUM, checksum(view, at, length));
  return length;
}
