/** What an ICMP error says, for both families. */
import { Icmpv4TimeExceeded, Icmpv4Type, Icmpv4Unreachable } from './wire/icmpv4.ts';
import {
  Icmpv6ParameterProblem,
  Icmpv6TimeExceeded,
  Icmpv6Type,
  Icmpv6Unreachable,
} from './wire/icmpv6.ts';

export const IcmpErrorKind = {
  PORT: 0,
  HOST: 1,
  NETWORK: 2,
  PROHIBITED: 3,
  PROTOCOL: 4,
  HOP_LIMIT: 5,
  /** "Fragmentation needed", "packet too big": its parameter is the MTU. */
  TOO_BIG: 6,
} as const;
export type IcmpErrorKind = (typeof IcmpErrorKind)[keyof typeof IcmpErrorKind];

const V4 = Icmpv4Unreachable;
const V6 = Icmpv6Unreachable;

/** Types and codes of RFC 792 and RFC 1812 §5.2.7.1, by kind. */
export const ICMPV4_ERRORS: readonly (readonly [type: number, code: number])[] = [
  [Icmpv4Type.UNREACHABLE, V4.PORT],
  [Icmpv4Type.UNREACHABLE, V4.HOST],
  [Icmpv4Type.UNREACHABLE, V4.NETWORK],
  [Icmpv4Type.UNREACHABLE, V4.ADMINISTRATIVELY_PROHIBITED],
  [Icmpv4Type.UNREACHABLE, V4.PROTOCOL],
  [Icmpv4Type.TIME_EXCEEDED, Icmpv4TimeExceeded.TTL],
  [Icmpv4Type.UNREACHABLE, V4.FRAGMENTATION_NEEDED],
];

/** Types and codes of RFC 4443 §3, by kind. */
export const ICMPV6_ERRORS: readonly (readonly [type: number, code: number])[] = [
  [Icmpv6Type.UNREACHABLE, V6.PORT],
  [Icmpv6Type.UNREACHABLE, V6.ADDRESS],
  [Icmpv6Type.UNREACHABLE, V6.NO_ROUTE],
  [Icmpv6Type.UNREACHABLE, V6.ADMINISTRATIVELY_PROHIBITED],
  [Icmpv6Type.PARAMETER_PROBLEM, Icmpv6ParameterProblem.UNRECOGNIZED_NEXT_HEADER],
  [Icmpv6Type.TIME_EXCEEDED, Icmpv6TimeExceeded.HOP_LIMIT],
  [Icmpv6Type.PACKET_TOO_BIG, 0],
];
