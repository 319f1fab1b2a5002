/** The IPv6 header and its extension headers, RFC 8200. */
import { DropReason } from '../drop-reason.ts';
import { copyBytes } from './bytes.ts';
import type { Ecn } from './ecn.ts';
import { isLoopback, isMapped, isMulticast, isUnspecified } from './ip-address.ts';
import { Protocol } from './protocol.ts';

/** Offsets in bytes. */
export const Ipv6Field = {
  /** uint32: version (4 bits), traffic class (8), flow label (20). */
  VERSION_CLASS_LABEL: 0,
  PAYLOAD_LENGTH: 4,
  NEXT_HEADER: 6,
  HOP_LIMIT: 7,
  SOURCE: 8,
  DESTINATION: 24,
} as const;

/** Offsets in an extension header. */
const ExtensionField = {
  NEXT_HEADER: 0,
  /** In units of 8 bytes, the first 8 not counted. */
  LENGTH: 1,
  OPTIONS: 2,
  /** Routing header, RFC 8200 §4.4. */
  SEGMENTS_LEFT: 3,
  /** Fragment header, RFC 8200 §4.5: offset (13 bits), reserved (2), M. */
  FRAGMENT_OFFSET: 2,
  FRAGMENT_IDENTIFICATION: 4,
} as const;

export const IPV6_HEADER_BYTES = 40;
export const IPV6_ADDRESS_BYTES = 16;
/** Every link carries packets of this length: RFC 8200 §5. */
export const IPV6_MIN_MTU = 1280;

const VERSION_6 = 6;
const EXTENSION_UNIT = 8;
export const FRAGMENT_HEADER_BYTES = 8;
/** Our bound. RFC 8200 §4.1 recommends an order in which seven headers can stand. */
const MAX_EXTENSIONS = 8;
const OPTION_PAD1 = 0;
/** The two bits that tell what to do with an unknown option; 00 is to skip it. */
const OPTION_ACTION = 0xc0;

/** Length in bytes of everything behind the fixed header. */
export const payloadLength = (view: DataView, at: number): number =>
  view.getUint16(at + Ipv6Field.PAYLOAD_LENGTH);

/** End of the packet, where padding of the frame may begin. */
export const ipv6End = (view: DataView, at: number): number =>
  at + IPV6_HEADER_BYTES + payloadLength(view, at);

/** Protocol of the first extension header, or of the transport. */
export const nextHeader = (view: DataView, at: number): number =>
  view.getUint8(at + Ipv6Field.NEXT_HEADER);

export const hopLimit = (view: DataView, at: number): number =>
  view.getUint8(at + Ipv6Field.HOP_LIMIT);

/** DSCP and ECN, as one byte. */
export const trafficClass = (view: DataView, at: number): number =>
  (view.getUint16(at + Ipv6Field.VERSION_CLASS_LABEL) >>> 4) & 0xff;

export const ecn = (view: DataView, at: number): Ecn => (trafficClass(view, at) & 0b11) as Ecn;

/** Bytes of the fragmentable part before this fragment, whose fragment header is at `at`. */
export const fragmentOffset = (view: DataView, at: number): number =>
  view.getUint16(at + ExtensionField.FRAGMENT_OFFSET) & 0xfff8;

export const hasMoreFragments = (view: DataView, at: number): boolean =>
  (view.getUint16(at + ExtensionField.FRAGMENT_OFFSET) & 1) !== 0;

/** Protocol of what follows the extension header at `at`. */
export const extensionNextHeader = (view: DataView, at: number): number =>
  view.getUint8(at + ExtensionField.NEXT_HEADER);

/** Length in bytes of the extension header at `at`, of whatever kind but a fragment header. */
export const extensionLength = (view: DataView, at: number): number =>
  (view.getUint8(at + ExtensionField.LENGTH) + 1) * EXTENSION_UNIT;

export const fragmentIdentification = (view: DataView, at: number): number =>
  view.getUint32(at + ExtensionField.FRAGMENT_IDENTIFICATION);

/**
 * The door check. Padding behind the packet is allowed: its end is `ipv6End`. Refused as source:
 * unspecified, loopback, multicast, IPv4-mapped. An unspecified, loopback or mapped destination is
 * a bad header: dialled, it would open the host's own services.
 */
export function checkIpv6(view: DataView, at: number, end: number): DropReason {
  if (end - at < IPV6_HEADER_BYTES) return DropReason.FRAME_TOO_SHORT;
  if (view.getUint8(at + Ipv6Field.VERSION_CLASS_LABEL) >>> 4 !== VERSION_6) {
    return DropReason.BAD_IP_VERSION;
  }
  if (ipv6End(view, at) > end) return DropReason.BAD_IP_LENGTH;
  const sourceAt = at + Ipv6Field.SOURCE;
  if (
    isUnspecified(view, sourceAt, IPV6_ADDRESS_BYTES) ||
    isLoopback(view, sourceAt, IPV6_ADDRESS_BYTES) ||
    isMulticast(view, sourceAt, IPV6_ADDRESS_BYTES) ||
    isMapped(view, sourceAt, IPV6_ADDRESS_BYTES)
  ) {
    return DropReason.BAD_SOURCE_ADDRESS;
  }
  const destinationAt = at + Ipv6Field.DESTINATION;
  if (
    isUnspecified(view, destinationAt, IPV6_ADDRESS_BYTES) ||
    isLoopback(view, destinationAt, IPV6_ADDRESS_BYTES) ||
    isMapped(view, destinationAt, IPV6_ADDRESS_BYTES)
  ) {
    return DropReason.BAD_DESTINATION_ADDRESS;
  }
  return DropReason.NONE;
}

/**
 * Finds the transport header behind the extension headers. One object is reused: its fields hold
 * the answer of the last walk that returned NONE.
 */
export class ExtensionWalk {
  /** What stands at `transportAt`; of a fragment, what its first part holds there. */
  protocol = 0;
  transportAt = 0;
  /** The field that names `protocol`; at what an error points that does not know it. */
  protocolFieldAt = 0;
  /** Part of a larger packet. An atomic fragment (RFC 6946) is none. */
  isFragment = false;

  /**
   * Walks the packet at `at`, which has passed `checkIpv6`. What it does not know (ESP, AH, no
   * next header) it leaves as `protocol` to the caller.
   *
   * @param end  of the packet, not of the frame
   */
  walk(view: DataView, at: number, end: number): DropReason {
    this.protocol = nextHeader(view, at);
    this.protocolFieldAt = at + Ipv6Field.NEXT_HEADER;
    this.transportAt = at + IPV6_HEADER_BYTES;
    return this.#walkFrom(view, 0, end);
  }

  /**
   * Goes on behind the fragment header at which `walk` has ended. In a first fragment all headers
   * up to the transport must follow: RFC 8200 §4.5, RFC 7112 §5.
   */
  walkOn(view: DataView, end: number): DropReason {
    return this.#walkFrom(view, 1, end);
  }

  #walkFrom(view: DataView, first: number, end: number): DropReason {
    this.isFragment = false;
    for (let count = first; count <= MAX_EXTENSIONS; count++) {
      const reason = this.#step(view, count, end);
      if (reason === WALKED) return DropReason.NONE;
      if (reason !== DropReason.NONE) return reason;
    }
    return DropReason.BAD_EXTENSION_HEADER;
  }

  /** Steps over one extension header; `WALKED` when the transport, or a fragment, is reached. */
  #step(view: DataView, count: number, end: number): DropReason | typeof WALKED {
    const at = this.transportAt;
    const kind = this.protocol;
    if (!isExtension(kind)) return WALKED;
    if (end - at < EXTENSION_UNIT) return DropReason.BAD_EXTENSION_HEADER;
    const length = kind === Protocol.FRAGMENT ? EXTENSION_UNIT : extensionLength(view, at);
    if (length > end - at) return DropReason.BAD_EXTENSION_HEADER;
    if (kind === Protocol.FRAGMENT) {
      // The two reserved bits between offset and M are ignored.
      this.isFragment = (view.getUint16(at + ExtensionField.FRAGMENT_OFFSET) & 0xfff9) !== 0;
    } else if (kind === Protocol.ROUTING) {
      // RFC 8200 §4.4: with no segment left the header is skipped. We are nobody's waypoint.
      if (view.getUint8(at + ExtensionField.SEGMENTS_LEFT) !== 0) {
        return DropReason.BAD_EXTENSION_HEADER;
      }
    } else {
      if (kind === Protocol.HOP_BY_HOP && count > 0) return DropReason.BAD_EXTENSION_HEADER;
      const reason = checkOptions(view, at + ExtensionField.OPTIONS, at + length);
      if (reason !== DropReason.NONE) return reason;
    }
    this.protocolFieldAt = at + ExtensionField.NEXT_HEADER;
    this.protocol = view.getUint8(this.protocolFieldAt);
    this.transportAt = at + length;
    return this.isFragment ? WALKED : DropReason.NONE;
  }
}

/** Writes the fixed header with flow label 0. Addresses as in `emitIpv4Header`. */
export function emitIpv6Header(
  view: DataView,
  at: number,
  payloadBytes: number,
  nextHeaderNumber: number,
  hopLimitByte: number,
  trafficClassByte: number,
  sourceAt: number,
  destinationAt: number,
): void {
  const firstWord = (VERSION_6 << 28) | (trafficClassByte << 20);
  view.setInt32(at + Ipv6Field.VERSION_CLASS_LABEL, firstWord);
  view.setUint16(at + Ipv6Field.PAYLOAD_LENGTH, payloadBytes);
  view.setUint8(at + Ipv6Field.NEXT_HEADER, nextHeaderNumber);
  view.setUint8(at + Ipv6Field.HOP_LIMIT, hopLimitByte);
  copyBytes(view, at + Ipv6Field.SOURCE, sourceAt, IPV6_ADDRESS_BYTES);
  copyBytes(view, at + Ipv6Field.DESTINATION, destinationAt, IPV6_ADDRESS_BYTES);
}

/** Writes a fragment header. @param offset  bytes before the fragment, a multiple of 8 */
export function emitFragmentHeader(
  view: DataView,
  at: number,
  nextHeaderNumber: number,
  offset: number,
  hasMore: boolean,
  identification: number,
): void {
  view.setUint16(at + ExtensionField.NEXT_HEADER, nextHeaderNumber << 8);
  view.setUint16(at + ExtensionField.FRAGMENT_OFFSET, offset | (hasMore ? 1 : 0));
  view.setUint32(at + ExtensionField.FRAGMENT_IDENTIFICATION, identification);
}

/** Not a drop reason: the walk has reached its end. */
const WALKED = -1;

/** Whether a header of this kind may stand in front of another that is looked at. */
export const isExtension = (kind: number): boolean =>
  kind === Protocol.HOP_BY_HOP ||
  kind === Protocol.DESTINATION_OPTIONS ||
  kind === Protocol.ROUTING ||
  kind === Protocol.FRAGMENT;

/** RFC 8200 §4.2: an option that we do not know must allow to be skipped. */
function checkOptions(view: DataView, at: number, end: number): DropReason {
  let position = at;
  while (position < end) {
    const kind = view.getUint8(position);
    if (kind === OPTION_PAD1) {
      position += 1;
      continue;
    }
    if ((kind & OPTION_ACTION) !== 0 || end - position < 2) return DropReason.BAD_EXTENSION_HEADER;
    position += 2 + view.getUint8(position + 1);
  }
  return position === end ? DropReason.NONE : DropReason.BAD_EXTENSION_HEADER;
}
