/**
 * What the device would do for us, in software: cutting a superpacket into packets of at most one
 * MSS, and completing a checksum. For a device without a vnet header, an offload that the kernel
 * refused, and captures.
 */
import { copyBytes } from '../wire/bytes.ts';
import { checksum } from '../wire/checksum.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { Protocol } from '../wire/protocol.ts';
import { seqAdd } from '../wire/seq.ts';
import * as tcp from '../wire/tcp.ts';
import * as udp from '../wire/udp.ts';

/** Flags that stand on the last segment only. */
const LAST_ONLY = tcp.TcpFlag.FIN | tcp.TcpFlag.PSH;
/** Flags that stand on the first segment only: RFC 3168 §6.1.2. */
const FIRST_ONLY = tcp.TcpFlag.CWR;

/** Reused by every call: `segment` copies the answer before it calls anybody. */
const walk = new ipv6.ExtensionWalk();

/**
 * Cuts the TCP superpacket (TSO) or the run of UDP datagrams (USO) in [at, end) and hands the
 * packets out in order, each complete with lengths, IPv4 identification, and checksums. What the
 * superpacket's own checksum fields hold does not matter. As in the kernel, identifications count
 * up from the superpacket's, and an urgent pointer is copied as it is.
 *
 * @param at         IP header; it and the transport header have passed their door checks
 * @param gsoSize    payload bytes of each packet but the last; more than 0
 * @param scratchAt  room for the headers and `gsoSize` bytes, which does not overlap the packet;
 *                   every packet is built here and is valid only during its call of `emit`
 * @returns          packets handed out; 0 when this is neither TCP nor UDP
 */
export function segment(
  view: DataView,
  at: number,
  end: number,
  gsoSize: number,
  scratchAt: number,
  emit: (at: number, end: number) => void,
): number {
  const isIpv4 = ipv4.version(view, at) === 4;
  if (!isIpv4) walk.walk(view, at, end);
  const protocol = isIpv4 ? ipv4.protocol(view, at) : walk.protocol;
  const transportAt = isIpv4 ? at + ipv4.headerLength(view, at) : walk.transportAt;
  if (protocol !== Protocol.TCP && protocol !== Protocol.UDP) return 0;
  const isTcp = protocol === Protocol.TCP;
  const ipBytes = transportAt - at;
  const headerBytes =
    ipBytes + (isTcp ? tcp.headerLength(view, transportAt) : udp.UDP_HEADER_BYTES);
  const payloadBytes = end - at - headerBytes;
  let count = 0;
  let done = 0;
  do {
    const length = Math.min(gsoSize, payloadBytes - done);
    const packetEnd = scratchAt + headerBytes + length;
    copyBytes(view, scratchAt, at, headerBytes);
    copyBytes(view, scratchAt + headerBytes, at + headerBytes + done, length);
    if (isIpv4) patchIpv4(view, scratchAt, packetEnd, count);
    else patchIpv6(view, scratchAt, packetEnd);
    const isLast = done + length === payloadBytes;
    if (isTcp) patchTcp(view, scratchAt, scratchAt + ipBytes, packetEnd, done, isLast);
    else patchUdp(view, scratchAt, scratchAt + ipBytes, packetEnd);
    emit(scratchAt, packetEnd);
    done += length;
    count += 1;
  } while (done < payloadBytes);
  return count;
}

/**
 * Does what NEEDS_CSUM asks of the device: sums from `checksumStart` to the end, the pseudo
 * header's sum in the field included, and writes the result into the field.
 *
 * @param at              IP header, from where `checksumStart` counts
 * @param checksumOffset  position of the field, counted from `checksumStart`
 */
export function completeChecksum(
  view: DataView,
  at: number,
  checksumStart: number,
  checksumOffset: number,
  end: number,
): void {
  const startAt = at + checksumStart;
  const value = checksum(view, startAt, end - startAt);
  // A UDP checksum that comes out as 0 is sent as its other zero, for 0 says "none" there. In TCP
  // both zeros are right, so nobody has to ask which it is: the kernel's skb_checksum_help.
  view.setUint16(startAt + checksumOffset, value === 0 ? 0xffff : value);
}

function patchIpv4(view: DataView, at: number, end: number, index: number): void {
  view.setUint16(at + ipv4.Ipv4Field.TOTAL_LENGTH, end - at);
  view.setUint16(at + ipv4.Ipv4Field.IDENTIFICATION, ipv4.identification(view, at) + index);
  ipv4.refreshHeaderChecksum(view, at);
}

function patchIpv6(view: DataView, at: number, end: number): void {
  view.setUint16(at + ipv6.Ipv6Field.PAYLOAD_LENGTH, end - at - ipv6.IPV6_HEADER_BYTES);
}

/** @param done  payload bytes in the segments before this one */
function patchTcp(
  view: DataView,
  at: number,
  tcpAt: number,
  end: number,
  done: number,
  isLast: boolean,
): void {
  let flags = tcp.flags(view, tcpAt);
  if (!isLast) flags &= ~LAST_ONLY;
  if (done > 0) flags &= ~FIRST_ONLY;
  view.setUint8(tcpAt + tcp.TcpField.FLAGS, flags);
  view.setUint32(tcpAt + tcp.TcpField.SEQ, seqAdd(tcp.sequence(view, tcpAt), done));
  if (ipv4.version(view, at) === 4) {
    const { SOURCE, DESTINATION } = ipv4.Ipv4Field;
    const addressBytes = ipv4.IPV4_ADDRESS_BYTES;
    tcp.emitTcpChecksum(view, at + SOURCE, at + DESTINATION, addressBytes, tcpAt, end);
  } else {
    const { SOURCE, DESTINATION } = ipv6.Ipv6Field;
    const addressBytes = ipv6.IPV6_ADDRESS_BYTES;
    tcp.emitTcpChecksum(view, at + SOURCE, at + DESTINATION, addressBytes, tcpAt, end);
  }
}

function patchUdp(view: DataView, at: number, udpAt: number, end: number): void {
  view.setUint16(udpAt + udp.UdpField.LENGTH, end - udpAt);
  if (ipv4.version(view, at) === 4) {
    const { SOURCE, DESTINATION } = ipv4.Ipv4Field;
    udp.emitUdpChecksum(view, at + SOURCE, at + DESTINATION, ipv4.IPV4_ADDRESS_BYTES, udpAt);
  } else {
    const { SOURCE, DESTINATION } = ipv6.Ipv6Field;
    udp.emitUdpChecksum(view, at + SOURCE, at + DESTINATION, ipv6.IPV6_ADDRESS_BYTES, udpAt);
  }
}
