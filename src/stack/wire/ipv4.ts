/** The IPv4 header, RFC 791 §3.1. */
import { DropReason } from '../drop-reason.ts';
import { copyBytes } from './bytes.ts';
import { checksum } from './checksum.ts';
import type { Ecn } from './ecn.ts';
import { isBroadcast, isLoopback, isMulticast, isUnspecified } from './ip-address.ts';

/** Offsets in bytes. */
export const Ipv4Field = {
  VERSION_IHL: 0,
  TRAFFIC_CLASS: 1,
  TOTAL_LENGTH: 2,
  IDENTIFICATION: 4,
  FLAGS_FRAGMENT: 6,
  TTL: 8,
  PROTOCOL: 9,
  CHECKSUM: 10,
  SOURCE: 12,
  DESTINATION: 16,
} as const;

/** Length of a header without options. */
export const IPV4_HEADER_BYTES = 20;
export const IPV4_ADDRESS_BYTES = 4;

/** Options that are one byte long, and have no length. */
export const OptionKind = { END: 0, NOP: 1 } as const;
/** Bit of an option's kind: it stands in every fragment. */
export const OPTION_COPIED = 0x80;
const OPTION_LENGTH_AT = 1;

const VERSION_4 = 4;
const DONT_FRAGMENT = 0x4000;
/** MF and the fragment offset. */
const FRAGMENT_BITS = 0x3fff;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET_BITS = 0x1fff;

/** 4, 6 or nonsense: also tells an IPv6 packet. */
export const version = (view: DataView, at: number): number =>
  view.getUint8(at + Ipv4Field.VERSION_IHL) >>> 4;

/** Header length in bytes, options included. */
export const headerLength = (view: DataView, at: number): number =>
  (view.getUint8(at + Ipv4Field.VERSION_IHL) & 0xf) * 4;

/** Length in bytes of the option at `at`; of a damaged one, all up to the `end` of the header. */
export function optionLength(view: DataView, at: number, end: number): number {
  if (view.getUint8(at) <= OptionKind.NOP) return 1;
  const length = view.getUint8(at + OPTION_LENGTH_AT);
  return length < 2 || length > end - at ? end - at : length;
}

/** Length of the packet in bytes, header included. */
export const totalLength = (view: DataView, at: number): number =>
  view.getUint16(at + Ipv4Field.TOTAL_LENGTH);

/** End of the packet, where padding of the frame may begin. */
export const ipv4End = (view: DataView, at: number): number => at + totalLength(view, at);

export const identification = (view: DataView, at: number): number =>
  view.getUint16(at + Ipv4Field.IDENTIFICATION);

export const ttl = (view: DataView, at: number): number => view.getUint8(at + Ipv4Field.TTL);

/** IANA protocol number. */
export const protocol = (view: DataView, at: number): number =>
  view.getUint8(at + Ipv4Field.PROTOCOL);

/** DSCP and ECN, as one byte. */
export const trafficClass = (view: DataView, at: number): number =>
  view.getUint8(at + Ipv4Field.TRAFFIC_CLASS);

export const ecn = (view: DataView, at: number): Ecn => (trafficClass(view, at) & 0b11) as Ecn;

/** Whether the packet is part of a larger one: MF set or an offset other than 0. */
export const isFragment = (view: DataView, at: number): boolean =>
  (view.getUint16(at + Ipv4Field.FLAGS_FRAGMENT) & FRAGMENT_BITS) !== 0;

/** Bytes of the packet's payload before this fragment. */
export const fragmentOffset = (view: DataView, at: number): number =>
  (view.getUint16(at + Ipv4Field.FLAGS_FRAGMENT) & FRAGMENT_OFFSET_BITS) * 8;

export const hasMoreFragments = (view: DataView, at: number): boolean =>
  (view.getUint16(at + Ipv4Field.FLAGS_FRAGMENT) & MORE_FRAGMENTS) !== 0;

/** DF set and no fragment: its identification means nothing, RFC 6864 §4.1. */
export const isAtomic = (view: DataView, at: number): boolean =>
  (view.getUint16(at + Ipv4Field.FLAGS_FRAGMENT) & (DONT_FRAGMENT | FRAGMENT_BITS)) ===
  DONT_FRAGMENT;

/**
 * The door check. Padding behind the packet is allowed: its end is `ipv4End`. Refused as source:
 * what RFC 1812 §5.3.7 calls martian (unspecified, loopback, multicast, broadcast). A loopback
 * or unspecified destination is a bad header: dialled, it would open the host's own services.
 */
export function checkIpv4(view: DataView, at: number, end: number): DropReason {
  if (end - at < IPV4_HEADER_BYTES) return DropReason.FRAME_TOO_SHORT;
  if (version(view, at) !== VERSION_4) return DropReason.BAD_IP_VERSION;
  const header = headerLength(view, at);
  if (header < IPV4_HEADER_BYTES || header > end - at) return DropReason.BAD_IP_HEADER;
  const total = totalLength(view, at);
  if (total < header || total > end - at) return DropReason.BAD_IP_LENGTH;
  if (checksum(view, at, header) !== 0) return DropReason.BAD_IP_CHECKSUM;
  const sourceAt = at + Ipv4Field.SOURCE;
  if (
    isUnspecified(view, sourceAt, IPV4_ADDRESS_BYTES) ||
    isLoopback(view, sourceAt, IPV4_ADDRESS_BYTES) ||
    isMulticast(view, sourceAt, IPV4_ADDRESS_BYTES) ||
    isBroadcast(view, sourceAt, IPV4_ADDRESS_BYTES)
  ) {
    return DropReason.BAD_SOURCE_ADDRESS;
  }
  const destinationAt = at + Ipv4Field.DESTINATION;
  if (
    isUnspecified(view, destinationAt, IPV4_ADDRESS_BYTES) ||
    isLoopback(view, destinationAt, IPV4_ADDRESS_BYTES)
  ) {
    return DropReason.BAD_DESTINATION_ADDRESS;
  }
  return DropReason.NONE;
}

/**
 * Writes a header without options. DF is set and the identification is 0, which RFC 6864 §4.1
 * allows for a packet that is never fragmented.
 *
 * @param sourceAt, destinationAt  positions in the same view: outside the header, or where the
 *                                 header keeps that address
 */
export function emitIpv4Header(
  view: DataView,
  at: number,
  packetLength: number,
  protocolNumber: number,
  timeToLive: number,
  trafficClassByte: number,
  sourceAt: number,
  destinationAt: number,
): void {
  view.setUint8(at + Ipv4Field.VERSION_IHL, (VERSION_4 << 4) | (IPV4_HEADER_BYTES >>> 2));
  view.setUint8(at + Ipv4Field.TRAFFIC_CLASS, trafficClassByte);
  view.setUint16(at + Ipv4Field.TOTAL_LENGTH, packetLength);
  view.setUint16(at + Ipv4Field.IDENTIFICATION, 0);
  view.setUint16(at + Ipv4Field.FLAGS_FRAGMENT, DONT_FRAGMENT);
  view.setUint8(at + Ipv4Field.TTL, timeToLive);
  view.setUint8(at + Ipv4Field.PROTOCOL, protocolNumber);
  copyBytes(view, at + Ipv4Field.SOURCE, sourceAt, IPV4_ADDRESS_BYTES);
  copyBytes(view, at + Ipv4Field.DESTINATION, destinationAt, IPV4_ADDRESS_BYTES);
  refreshHeaderChecksum(view, at);
}

/** @param length  a multiple of 4, options included */
export const setHeaderLength = (view: DataView, at: number, length: number): void =>
  view.setUint8(at + Ipv4Field.VERSION_IHL, (VERSION_4 << 4) | (length >>> 2));

/** Makes the packet a fragment with DF clear. @param offset  bytes before it, a multiple of 8 */
export function setFragment(view: DataView, at: number, offset: number, hasMore: boolean): void {
  const word = (offset >>> 3) | (hasMore ? MORE_FRAGMENTS : 0);
  view.setUint16(at + Ipv4Field.FLAGS_FRAGMENT, word);
}

/** Computes the header checksum anew, after a field was changed. */
export function refreshHeaderChecksum(view: DataView, at: number): void {
  view.setUint16(at + Ipv4Field.CHECKSUM, 0);
  view.setUint16(at + Ipv4Field.CHECKSUM, checksum(view, at, headerLength(view, at)));
}
