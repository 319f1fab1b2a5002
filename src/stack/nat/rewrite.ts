/**
 * Addresses, ports and the hop limit of a packet, changed where it lies. Checksums are adjusted by
 * what changed (RFC 1624) and no payload is summed, so that a superpacket costs what any packet
 * does, and what was wrong before is as wrong afterwards.
 *
 *   full      the field covers pseudo header, header and payload: addresses and ports count
 *   partial   it holds the sum of the pseudo header, not inverted: addresses count, ports do not
 *   none      UDP says so by 0 (RFC 768), and SCTP's CRC32c knows no address: nothing to do
 *
 * There and back is the identity, but for one thing: a full checksum of 0xffff that is not UDP's
 * comes back as 0, the other zero, which is as right.
 */
import type { Packet } from '../packet.ts';
import { copyBytes } from '../wire/bytes.ts';
import { adjust, adjustBy, changeOf, fold } from '../wire/checksum.ts';
import { IcmpField, icmpType } from '../wire/icmp.ts';
import { Icmpv4Type } from '../wire/icmpv4.ts';
import { Icmpv6Type } from '../wire/icmpv6.ts';
import { IPV4_ADDRESS_BYTES, Ipv4Field } from '../wire/ipv4.ts';
import { Ipv6Field } from '../wire/ipv6.ts';
import { Protocol } from '../wire/protocol.ts';
import { flags, headerLength, TcpField, TcpFlag } from '../wire/tcp.ts';
import { mssValueAt, NO_MSS } from '../wire/tcp-options.ts';
import { UdpField } from '../wire/udp.ts';

/** The packet has no such field. */
const NO_FIELD = -1;
/** The checksum of DCCP, RFC 4340 §5.1. */
const DCCP_CHECKSUM = 6;
const MSS_VALUE_BYTES = 2;
const CHECKSUM_BYTES = 2;

/**
 * Writes another source. `packet` is as before but for its port; its hash is that of the tuple
 * with which it came.
 *
 * @param addressAt  of `packet.addressLength` bytes
 * @param port       of TCP and UDP; identifier of an ICMP echo request; else it is ignored
 */
export function rewriteSource(
  view: DataView,
  packet: Packet,
  addressAt: number,
  port: number,
): void {
  const portAt = portFieldAt(view, packet, true);
  rewrite(view, packet, packet.sourceAt, addressAt, portAt, port);
  if (portAt !== NO_FIELD) packet.sourcePort = port;
}

/** Writes another destination; as `rewriteSource`. @param port  of ICMP, that of an echo reply */
export function rewriteDestination(
  view: DataView,
  packet: Packet,
  addressAt: number,
  port: number,
): void {
  const portAt = portFieldAt(view, packet, false);
  rewrite(view, packet, packet.destinationAt, addressAt, portAt, port);
  if (portAt !== NO_FIELD) packet.destinationPort = port;
}

/** One hop less. @returns false, and nothing is written, when the packet must not go on */
export function decrementHopLimit(view: DataView, packet: Packet): boolean {
  if (packet.hopLimit <= 1) return false;
  packet.hopLimit -= 1;
  const { ipAt } = packet;
  if (packet.addressLength !== IPV4_ADDRESS_BYTES) {
    view.setUint8(ipAt + Ipv6Field.HOP_LIMIT, packet.hopLimit);
    return true;
  }
  const oldWord = view.getUint16(ipAt + Ipv4Field.TTL);
  view.setUint8(ipAt + Ipv4Field.TTL, packet.hopLimit);
  const checksumAt = ipAt + Ipv4Field.CHECKSUM;
  const newWord = view.getUint16(ipAt + Ipv4Field.TTL);
  view.setUint16(checksumAt, adjust(view.getUint16(checksumAt), oldWord, newWord));
  return true;
}

/**
 * Lowers the MSS that a SYN or SYN-ACK offers; one without the option is left alone. When it comes
 * more than once all are lowered, for receivers do not agree on which one they take.
 *
 * @param packet  TCP that has passed `checkTcp`
 * @returns       whether anything changed
 */
export function clampMss(view: DataView, packet: Packet, mss: number): boolean {
  const tcpAt = packet.transportAt;
  if ((flags(view, tcpAt) & TcpFlag.SYN) === 0) return false;
  const end = tcpAt + headerLength(view, tcpAt);
  let hasChanged = false;
  let valueAt = mssValueAt(view, tcpAt + TcpField.OPTIONS, end);
  while (valueAt !== NO_MSS) {
    const offered = view.getUint16(valueAt);
    if (offered > mss) {
      hasChanged = true;
      view.setUint16(valueAt, mss);
      if (!packet.isPartial) adjustMss(view, tcpAt, valueAt, offered, mss);
    }
    valueAt = mssValueAt(view, valueAt + MSS_VALUE_BYTES, end);
  }
  return hasChanged;
}

/** An option may begin anywhere. At an odd place, sums see its two bytes the other way round. */
function adjustMss(
  view: DataView,
  tcpAt: number,
  valueAt: number,
  offered: number,
  mss: number,
): void {
  const isOdd = ((valueAt - tcpAt) & 1) === 1;
  const checksumAt = tcpAt + TcpField.CHECKSUM;
  const old = view.getUint16(checksumAt);
  const value = isOdd ? adjust(old, swapBytes(offered), swapBytes(mss)) : adjust(old, offered, mss);
  view.setUint16(checksumAt, value);
}

const swapBytes = (word: number): number => ((word & 0xff) << 8) | (word >>> 8);

/** Where the packet has the port, or the identifier of the client's echo, of one of its ends. */
function portFieldAt(view: DataView, packet: Packet, isSource: boolean): number {
  const at = packet.transportAt;
  const isIpv4 = packet.addressLength === IPV4_ADDRESS_BYTES;
  switch (packet.protocol) {
    case Protocol.TCP:
      return at + (isSource ? TcpField.SRC_PORT : TcpField.DST_PORT);
    case Protocol.UDP:
      return at + (isSource ? UdpField.SRC_PORT : UdpField.DST_PORT);
    case Protocol.ICMP: {
      const echo = isSource ? Icmpv4Type.ECHO_REQUEST : Icmpv4Type.ECHO_REPLY;
      return isIpv4 && icmpType(view, at) === echo ? at + IcmpField.IDENTIFIER : NO_FIELD;
    }
    case Protocol.ICMPV6: {
      const echo = isSource ? Icmpv6Type.ECHO_REQUEST : Icmpv6Type.ECHO_REPLY;
      return !isIpv4 && icmpType(view, at) === echo ? at + IcmpField.IDENTIFIER : NO_FIELD;
    }
    default:
      return NO_FIELD;
  }
}

/** @param portAt  NO_FIELD: the port stays what it is */
function rewrite(
  view: DataView,
  packet: Packet,
  at: number,
  addressAt: number,
  portAt: number,
  port: number,
): void {
  const { addressLength } = packet;
  const addressChange = changeOf(view, at, addressAt, addressLength);
  copyBytes(view, at, addressAt, addressLength);
  if (addressLength === IPV4_ADDRESS_BYTES) {
    const checksumAt = packet.ipAt + Ipv4Field.CHECKSUM;
    view.setUint16(checksumAt, adjustBy(view.getUint16(checksumAt), addressChange));
  }
  let portChange = 0;
  if (portAt !== NO_FIELD) {
    portChange = (~view.getUint16(portAt) & 0xffff) + port;
    view.setUint16(portAt, port);
  }
  adjustTransport(view, packet, addressChange, portChange);
}

function adjustTransport(
  view: DataView,
  packet: Packet,
  addressChange: number,
  portChange: number,
): void {
  const at = transportChecksumAt(packet);
  // What an error quotes may end before; and nobody checks the header of DCCP at the door.
  if (at === NO_FIELD || at + CHECKSUM_BYTES > packet.end) return;
  const { protocol } = packet;
  const old = view.getUint16(at);
  // ICMP for IPv4 is the one without a pseudo header.
  const pseudoChange = protocol === Protocol.ICMP ? 0 : addressChange;
  if (packet.isPartial) {
    view.setUint16(at, fold(old + pseudoChange));
    return;
  }
  if (protocol === Protocol.UDP && old === 0) return;
  const value = adjustBy(old, pseudoChange + portChange);
  view.setUint16(at, value === 0 && isOtherZero(view, packet) ? 0xffff : value);
}

/**
 * Whether a checksum of zero must be 0xffff. UDP takes 0 for "none". And of an echo reply that is
 * zeros from end to end only 0xffff is the checksum: RFC 1624 takes it that some word is not zero,
 * as a pseudo header always has it. When just the payload has one, both zeros are right.
 */
function isOtherZero(view: DataView, packet: Packet): boolean {
  const at = packet.transportAt;
  switch (packet.protocol) {
    case Protocol.UDP:
    case Protocol.UDP_LITE:
      return true;
    case Protocol.ICMP:
      return (
        view.getUint16(at + IcmpField.TYPE) === 0 && view.getUint32(at + IcmpField.IDENTIFIER) === 0
      );
    default:
      return false;
  }
}

/** Where the checksum is that covers addresses or ports. */
function transportChecksumAt(packet: Packet): number {
  const at = packet.transportAt;
  const isIpv4 = packet.addressLength === IPV4_ADDRESS_BYTES;
  switch (packet.protocol) {
    case Protocol.TCP:
      return at + TcpField.CHECKSUM;
    case Protocol.UDP:
      return at + UdpField.CHECKSUM;
    case Protocol.ICMP:
      return isIpv4 ? at + IcmpField.CHECKSUM : NO_FIELD;
    case Protocol.ICMPV6:
      return isIpv4 ? NO_FIELD : at + IcmpField.CHECKSUM;
    case Protocol.UDP_LITE:
      // RFC 3828 §3.1: the header of UDP, with the coverage for the length.
      return at + UdpField.CHECKSUM;
    case Protocol.DCCP:
      return at + DCCP_CHECKSUM;
    default:
      return NO_FIELD;
  }
}
