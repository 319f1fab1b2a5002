/**
 * ICMP and ICMPv6 errors about packets of a NAT flow: RFC 5508 §4.
 *
 * Who sends an error has seen the packet on its side of the gateway; who is to read it sent the
 * packet on the other. So the quote becomes what was sent, and the error goes to who sent it:
 *
 *   quotes a packet of   seen, and quoted                sent
 *   original direction   NAT source → upstream           source → destination
 *   reply direction      destination → source            upstream → NAT source
 *
 * The quote is a packet that ends early, and is rewritten as packets are; the checksum of the error
 * is adjusted by what changed in it. Type, code and MTU stay; so do the extensions of RFC 4884,
 * which stand behind at least 128 bytes of the quote.
 */
import { DropReason } from '../drop-reason.ts';
import { FlowField } from '../flow-row.ts';
import type { Packet } from '../packet.ts';
import { adjustBy, fold, sum } from '../wire/checksum.ts';
import { echoIdentifier, ICMP_HEADER_BYTES, IcmpField, icmpType } from '../wire/icmp.ts';
import { Icmpv4Type } from '../wire/icmpv4.ts';
import { Icmpv6Type } from '../wire/icmpv6.ts';
import { addressEquals } from '../wire/ip-address.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { Protocol } from '../wire/protocol.ts';
import * as tcp from '../wire/tcp.ts';
import { rewriteDestination, rewriteSource } from './rewrite.ts';

/** Of a transport header, what every error quotes: RFC 792. Ports and identifiers lie in it. */
const QUOTED_TRANSPORT_BYTES = 8;
/** How much of a transport header a rewrite may change: up to the checksum of TCP. */
const REWRITTEN_BYTES = tcp.TCP_HEADER_BYTES;
/** An error has neither ports nor an identifier. */
const NO_PORT = 0;

/** Fields of the row, of the packet as it was sent: see the table above. */
const SENT_BY_CLIENT = {
  source: FlowField.SOURCE,
  sourcePort: FlowField.SOURCE_PORT,
  destination: FlowField.DESTINATION,
  destinationPort: FlowField.DESTINATION_PORT,
} as const;
const SENT_BY_UPSTREAM = {
  source: FlowField.UPSTREAM,
  sourcePort: FlowField.UPSTREAM_PORT,
  destination: FlowField.NAT_SOURCE,
  destinationPort: FlowField.NAT_SOURCE_PORT,
} as const;

/** Reused by every call: `readQuote` copies the answer. */
const walk = new ipv6.ExtensionWalk();

/**
 * Reads the packet that an error quotes. It may be short, its checksums may be wrong (RFC 5508
 * REQ-3 would have that of the IPv4 header checked, which Linux does not: a router that changed the
 * header may quote it half changed).
 *
 * @param packet  an ICMP or ICMPv6 error whose checksum is right
 * @param quote   gets the quoted packet, as it was on the side of who sends the error; its `end` is
 *                where the quote ends
 * @returns       false when it tells no tuple: too short, damaged, or not the first fragment
 */
export function readQuote(view: DataView, packet: Packet, quote: Packet): boolean {
  const isIpv4 = packet.addressLength === ipv4.IPV4_ADDRESS_BYTES;
  quote.addressLength = packet.addressLength;
  quote.isPartial = false;
  quote.gsoSize = 0;
  const hasHeader = isIpv4 ? readV4(view, packet, quote) : readV6(view, packet, quote);
  return hasHeader && readPorts(view, quote, isIpv4);
}

/**
 * Translates the error and what it quotes, in place; the hop limit stays. Other senders than the
 * flow's two ends keep their address towards the client, so that traceroute tells the truth, and
 * lose it towards the upstream, where it would mean nothing (RFC 5508 REQ-4, REQ-5).
 *
 * @param quote          what `readQuote` has read of `packet`
 * @param flowAt         row of the flow: see FlowField
 * @param isQuotedReply  the quoted packet is one of the reply direction
 */
export function translateError(
  view: DataView,
  packet: Packet,
  quote: Packet,
  flowAt: number,
  isQuotedReply: boolean,
): void {
  const length = Math.min(quote.transportAt + REWRITTEN_BYTES, quote.end) - quote.ipAt;
  const before = fold(sum(view, quote.ipAt, length));
  const sent = isQuotedReply ? SENT_BY_UPSTREAM : SENT_BY_CLIENT;
  rewriteSource(view, quote, flowAt + sent.source, portAt(view, flowAt + sent.sourcePort));
  rewriteDestination(
    view,
    quote,
    flowAt + sent.destination,
    portAt(view, flowAt + sent.destinationPort),
  );
  if (!packet.isPartial) {
    const after = fold(sum(view, quote.ipAt, length));
    const checksumAt = packet.transportAt + IcmpField.CHECKSUM;
    const old = view.getUint16(checksumAt);
    view.setUint16(checksumAt, adjustBy(old, (~before & 0xffff) + after));
  }
  if (isQuotedReply) addressToUpstream(view, packet, flowAt);
  else addressToClient(view, packet, flowAt);
}

/** Rows are in host byte order. */
const portAt = (view: DataView, at: number): number => view.getUint16(at, true);

function addressToUpstream(view: DataView, packet: Packet, flowAt: number): void {
  const sourceAt = flowAt + FlowField.SOURCE;
  const natSourceAt = flowAt + FlowField.NAT_SOURCE;
  if (!addressEquals(view, sourceAt, natSourceAt, packet.addressLength)) {
    rewriteSource(view, packet, natSourceAt, NO_PORT);
  }
  rewriteDestination(view, packet, flowAt + FlowField.UPSTREAM, NO_PORT);
}

function addressToClient(view: DataView, packet: Packet, flowAt: number): void {
  const upstreamAt = flowAt + FlowField.UPSTREAM;
  if (addressEquals(view, packet.sourceAt, upstreamAt, packet.addressLength)) {
    rewriteSource(view, packet, flowAt + FlowField.DESTINATION, NO_PORT);
  }
  rewriteDestination(view, packet, flowAt + FlowField.SOURCE, NO_PORT);
}

function readV4(view: DataView, packet: Packet, quote: Packet): boolean {
  const at = packet.transportAt + ICMP_HEADER_BYTES;
  if (packet.end - at < ipv4.IPV4_HEADER_BYTES || ipv4.version(view, at) !== 4) return false;
  if (ipv4.fragmentOffset(view, at) !== 0) return false;
  setAddresses(quote, at, ipv4.Ipv4Field.SOURCE, ipv4.Ipv4Field.DESTINATION);
  quote.transportAt = at + ipv4.headerLength(view, at);
  quote.end = Math.min(ipv4.ipv4End(view, at), packet.end);
  quote.protocol = ipv4.protocol(view, at);
  quote.hopLimit = ipv4.ttl(view, at);
  quote.trafficClass = ipv4.trafficClass(view, at);
  return quote.transportAt >= at + ipv4.IPV4_HEADER_BYTES && quote.transportAt <= quote.end;
}

function readV6(view: DataView, packet: Packet, quote: Packet): boolean {
  const at = packet.transportAt + ICMP_HEADER_BYTES;
  if (packet.end - at < ipv6.IPV6_HEADER_BYTES || ipv4.version(view, at) !== 6) return false;
  quote.end = Math.min(ipv6.ipv6End(view, at), packet.end);
  if (walk.walk(view, at, quote.end) !== DropReason.NONE) return false;
  setAddresses(quote, at, ipv6.Ipv6Field.SOURCE, ipv6.Ipv6Field.DESTINATION);
  quote.transportAt = walk.transportAt;
  quote.protocol = walk.protocol;
  quote.hopLimit = ipv6.hopLimit(view, at);
  quote.trafficClass = ipv6.trafficClass(view, at);
  const fragmentAt = walk.transportAt - ipv6.FRAGMENT_HEADER_BYTES;
  return !walk.isFragment || ipv6.fragmentOffset(view, fragmentAt) === 0;
}

function setAddresses(quote: Packet, at: number, source: number, destination: number): void {
  quote.frameAt = at;
  quote.ipAt = at;
  quote.sourceAt = at + source;
  quote.destinationAt = at + destination;
}

/** @returns false when the protocol has ports, and they are not quoted */
function readPorts(view: DataView, quote: Packet, isIpv4: boolean): boolean {
  const { transportAt: at, protocol } = quote;
  quote.sourcePort = 0;
  quote.destinationPort = 0;
  const isIcmp = protocol === (isIpv4 ? Protocol.ICMP : Protocol.ICMPV6);
  if (!isIcmp && protocol !== Protocol.TCP && protocol !== Protocol.UDP) return true;
  if (quote.end - at < QUOTED_TRANSPORT_BYTES) return false;
  if (!isIcmp) {
    quote.sourcePort = tcp.sourcePort(view, at);
    quote.destinationPort = tcp.destinationPort(view, at);
    return true;
  }
  const type = icmpType(view, at);
  if (type === (isIpv4 ? Icmpv4Type.ECHO_REQUEST : Icmpv6Type.ECHO_REQUEST)) {
    quote.sourcePort = echoIdentifier(view, at);
  } else if (type === (isIpv4 ? Icmpv4Type.ECHO_REPLY : Icmpv6Type.ECHO_REPLY)) {
    quote.destinationPort = echoIdentifier(view, at);
  }
  return true;
}
