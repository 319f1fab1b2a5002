/** ICMPv6, RFC 4443. Its checksum covers the pseudo header, so addresses are needed. */
import { DropReason } from '../drop-reason.ts';
import { checksum, pseudoHeaderSum } from './checksum.ts';
import { emitQuote, ICMP_HEADER_BYTES, IcmpField, icmpType } from './icmp.ts';
import { IPV6_ADDRESS_BYTES, IPV6_HEADER_BYTES, IPV6_MIN_MTU } from './ipv6.ts';
import { Protocol } from './protocol.ts';

/** Types below 128 are errors: RFC 4443 §2.1. */
export const Icmpv6Type = {
  UNREACHABLE: 1,
  PACKET_TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  PARAMETER_PROBLEM: 4,
  ECHO_REQUEST: 128,
  ECHO_REPLY: 129,
} as const;

/** Codes of UNREACHABLE: RFC 4443 §3.1. */
export const Icmpv6Unreachable = {
  NO_ROUTE: 0,
  ADMINISTRATIVELY_PROHIBITED: 1,
  ADDRESS: 3,
  PORT: 4,
} as const;

/** Codes of TIME_EXCEEDED: RFC 4443 §3.3. */
export const Icmpv6TimeExceeded = { HOP_LIMIT: 0, REASSEMBLY: 1 } as const;

/** Codes of PARAMETER_PROBLEM: RFC 4443 §3.4. */
export const Icmpv6ParameterProblem = {
  ERRONEOUS_FIELD: 0,
  UNRECOGNIZED_NEXT_HEADER: 1,
  UNRECOGNIZED_OPTION: 2,
} as const;

const FIRST_INFORMATIONAL_TYPE = 128;
/** RFC 4443 §3.1: as much as fits into the least MTU of IPv6. */
const MAX_QUOTED_BYTES = IPV6_MIN_MTU - IPV6_HEADER_BYTES - ICMP_HEADER_BYTES;

/** The door check of the message in [at, end), its checksum included. */
export function checkIcmpv6(
  view: DataView,
  ipSourceAt: number,
  ipDestinationAt: number,
  at: number,
  end: number,
): DropReason {
  if (end - at < ICMP_HEADER_BYTES) return DropReason.BAD_ICMP_HEADER;
  return icmpv6Checksum(view, ipSourceAt, ipDestinationAt, at, end) === 0
    ? DropReason.NONE
    : DropReason.BAD_ICMP_CHECKSUM;
}

/** An error is never answered with an error: RFC 4443 §2.4 (e). */
export const isIcmpError = (view: DataView, at: number): boolean =>
  icmpType(view, at) < FIRST_INFORMATIONAL_TYPE;

/**
 * Writes an ICMPv6 error that quotes the packet at `quotedAt`, of any protocol and with whatever
 * checksums it has, as much of it as fits.
 *
 * @param ipSourceAt, ipDestinationAt  addresses of the error itself
 * @param parameter  uint32 behind the checksum: the MTU of PACKET_TOO_BIG; the pointer of
 *                   PARAMETER_PROBLEM, see `ExtensionWalk.protocolFieldAt`; else 0
 * @param quotedAt   IP header of the packet; must not overlap what is written
 * @returns          bytes written, the IP header before them not counted
 */
export function emitErrorV6(
  view: DataView,
  ipSourceAt: number,
  ipDestinationAt: number,
  at: number,
  type: number,
  code: number,
  parameter: number,
  quotedAt: number,
  quotedLength: number,
): number {
  const quoted = Math.min(quotedLength, MAX_QUOTED_BYTES);
  const length = emitQuote(view, at, type, code, parameter, quotedAt, quoted);
  const value = icmpv6Checksum(view, ipSourceAt, ipDestinationAt, at, at + length);
  view.setUint16(at + IcmpField.CHECKSUM, value);
  return length;
}

function icmpv6Checksum(
  view: DataView,
  ipSourceAt: number,
  ipDestinationAt: number,
  at: number,
  end: number,
): number {
  const pseudo = pseudoHeaderSum(
    view,
    ipSourceAt,
    ipDestinationAt,
    IPV6_ADDRESS_BYTES,
    Protocol.ICMPV6,
    end - at,
  );
  return checksum(view, at, end - at, pseudo);
}
