/**
 * Cuts a packet into fragments: RFC 791 §3.2, RFC 8200 §4.5. For packets that came in fragments and
 * were made whole, and for those whose sender lets routers cut them; nobody else's may be cut.
 */
import { FRAGMENT_UNIT } from '../reassembly/fragment.ts';
import { copyBytes } from '../wire/bytes.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { Protocol } from '../wire/protocol.ts';

/** Where a packet is cut; reused by every call, which copies it before it calls anybody. */
const plan = {
  /** End of the headers that stand in every fragment. */
  headersEnd: 0,
  /** IPv6: the field in them that names what follows, and what it named. */
  protocolFieldAt: 0,
  protocol: 0,
  /** Begin of what is cut. */
  bodyAt: 0,
};

/**
 * Hands out the packet in [at, end) in packets of at most `mtu` bytes, in order; as it is, where it
 * lies, when it fits. Its transport checksum must be complete: it covers all, and goes with the
 * first fragment. DF is cleared; whether it may be is for the caller to know.
 *
 * @param at              IP header, which has passed its door check, and is no fragment; the header
 *                        of an atomic one is replaced
 * @param identification  the same in all fragments; of IPv4 the low 16 bits count
 * @param scratchAt       room for `mtu` bytes which does not overlap the packet; every fragment is
 *                        built here, is valid only during its call of `emit`, and stays unchanged
 * @returns               packets handed out; 0 when a fragment has no room for 8 bytes of payload
 */
export function fragment(
  view: DataView,
  at: number,
  end: number,
  mtu: number,
  identification: number,
  scratchAt: number,
  emit: (at: number, end: number) => void,
): number {
  if (end - at <= mtu) {
    emit(at, end);
    return 1;
  }
  const isIpv4 = ipv4.version(view, at) === 4;
  if (isIpv4) planV4(view, at);
  else planV6(view, at);
  const { headersEnd, protocolFieldAt, protocol, bodyAt } = plan;
  copyBytes(view, scratchAt, at, headersEnd - at);
  if (!isIpv4) view.setUint8(scratchAt + protocolFieldAt - at, Protocol.FRAGMENT);
  let headerBytes = headersEnd - at + (isIpv4 ? 0 : ipv6.FRAGMENT_HEADER_BYTES);
  let count = 0;
  for (let doneAt = bodyAt; doneAt < end; count++) {
    const room = mtu - headerBytes;
    if (room < FRAGMENT_UNIT) return 0;
    const isLast = end - doneAt <= room;
    const length = isLast ? end - doneAt : room - (room % FRAGMENT_UNIT);
    const packetEnd = scratchAt + headerBytes + length;
    copyBytes(view, scratchAt + headerBytes, doneAt, length);
    const offset = doneAt - bodyAt;
    if (isIpv4) patchV4(view, scratchAt, packetEnd, identification, offset, !isLast);
    else {
      patchV6(view, scratchAt, packetEnd);
      const fragmentAt = scratchAt + headerBytes - ipv6.FRAGMENT_HEADER_BYTES;
      ipv6.emitFragmentHeader(view, fragmentAt, protocol, offset, !isLast, identification);
    }
    emit(scratchAt, packetEnd);
    doneAt += length;
    if (isIpv4 && count === 0) headerBytes = dropFirstOnlyOptions(view, scratchAt);
  }
  return count;
}

function planV4(view: DataView, at: number): void {
  plan.headersEnd = at + ipv4.headerLength(view, at);
  plan.bodyAt = plan.headersEnd;
}

/**
 * RFC 8200 §4.5: in every fragment stand the headers up to the routing header, or else the
 * hop-by-hop options, or else the fixed header alone.
 */
function planV6(view: DataView, at: number): void {
  let position = at + ipv6.IPV6_HEADER_BYTES;
  let fieldAt = at + ipv6.Ipv6Field.NEXT_HEADER;
  planV6Cut(view, position, fieldAt);
  let kind = ipv6.nextHeader(view, at);
  while (ipv6.isExtension(kind)) {
    if (kind === Protocol.FRAGMENT) {
      planV6Cut(view, position, fieldAt);
      plan.protocol = ipv6.extensionNextHeader(view, position);
      plan.bodyAt = position + ipv6.FRAGMENT_HEADER_BYTES;
      return;
    }
    const isNeededUnderway = kind === Protocol.HOP_BY_HOP || kind === Protocol.ROUTING;
    fieldAt = position;
    kind = ipv6.extensionNextHeader(view, position);
    position += ipv6.extensionLength(view, position);
    if (isNeededUnderway) planV6Cut(view, position, fieldAt);
  }
}

/** The next header field of an extension header is its first byte. */
function planV6Cut(view: DataView, position: number, fieldAt: number): void {
  plan.headersEnd = position;
  plan.bodyAt = position;
  plan.protocolFieldAt = fieldAt;
  plan.protocol = view.getUint8(fieldAt);
}

function patchV4(
  view: DataView,
  at: number,
  end: number,
  identification: number,
  offset: number,
  hasMore: boolean,
): void {
  view.setUint16(at + ipv4.Ipv4Field.TOTAL_LENGTH, end - at);
  view.setUint16(at + ipv4.Ipv4Field.IDENTIFICATION, identification);
  ipv4.setFragment(view, at, offset, hasMore);
  ipv4.refreshHeaderChecksum(view, at);
}

function patchV6(view: DataView, at: number, end: number): void {
  view.setUint16(at + ipv6.Ipv6Field.PAYLOAD_LENGTH, end - at - ipv6.IPV6_HEADER_BYTES);
}

/**
 * Turns the header of the first fragment into that of the others, which have those options only
 * that are marked to be copied (RFC 791 §3.1). @returns its length
 */
function dropFirstOnlyOptions(view: DataView, at: number): number {
  const end = at + ipv4.headerLength(view, at);
  let keptEnd = at + ipv4.IPV4_HEADER_BYTES;
  let position = keptEnd;
  while (position < end) {
    const kind = view.getUint8(position);
    if (kind === ipv4.OptionKind.END) break;
    const length = ipv4.optionLength(view, position, end);
    if ((kind & ipv4.OPTION_COPIED) !== 0) {
      for (let i = 0; i < length; i++) view.setUint8(keptEnd + i, view.getUint8(position + i));
      keptEnd += length;
    }
    position += length;
  }
  while ((keptEnd - at) % 4 !== 0) view.setUint8(keptEnd++, ipv4.OptionKind.END);
  ipv4.setHeaderLength(view, at, keptEnd - at);
  return keptEnd - at;
}
