/**
 * One line of text for a packet, much as tcpdump prints it. For test failures, logs and captures:
 * it allocates, and it takes any bytes.
 */
import { DROP_REASON_NAMES, DropReason } from '../drop-reason.ts';
import { ICMP_HEADER_BYTES, icmpCode, icmpType } from './icmp.ts';
import * as icmpv4 from './icmpv4.ts';
import * as icmpv6 from './icmpv6.ts';
import { formatAddress } from './ip-address.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv6 from './ipv6.ts';
import { Protocol } from './protocol.ts';
import * as tcp from './tcp.ts';
import { SACK_BLOCK_BYTES, TcpOptions } from './tcp-options.ts';
import * as udp from './udp.ts';

/** tcpdump's letters, in its order. */
const FLAG_LETTERS: readonly (readonly [number, string])[] = [
  [tcp.TcpFlag.FIN, 'F'],
  [tcp.TcpFlag.SYN, 'S'],
  [tcp.TcpFlag.RST, 'R'],
  [tcp.TcpFlag.PSH, 'P'],
  [tcp.TcpFlag.ACK, '.'],
  [tcp.TcpFlag.URG, 'U'],
  [tcp.TcpFlag.ECE, 'E'],
  [tcp.TcpFlag.CWR, 'W'],
];

/** What the lines of the transports need to know about the IP header. */
interface Carrier {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly transportAt: number;
  readonly end: number;
  readonly isFragment: boolean;
}

/**
 * Describes the IP packet in [at, end), `10.0.0.1:1234 > 10.0.0.2:80: tcp [S], seq 7, win 65535,
 * options [mss 1460], length 0`. What fails a door check is described by its drop reason.
 */
export function describePacket(view: DataView, at: number, end: number): string {
  if (end <= at) return 'empty frame';
  const carrier =
    ipv4.version(view, at) === 6 ? ipv6Carrier(view, at, end) : ipv4Carrier(view, at, end);
  if (typeof carrier === 'string') return carrier;
  const { source, destination, protocol } = carrier;
  if (carrier.isFragment) return `${source} > ${destination}: fragment, protocol ${protocol}`;
  switch (protocol) {
    case Protocol.TCP:
      return describeTcp(view, carrier);
    case Protocol.UDP:
      return describeUdp(view, carrier);
    case Protocol.ICMP:
    case Protocol.ICMPV6:
      return describeIcmp(view, carrier);
    default:
      return `${source} > ${destination}: protocol ${protocol}, ${lengthOf(carrier)}`;
  }
}

const malformed = (layer: string, reason: DropReason, bytes: number): string =>
  `${layer} ${DROP_REASON_NAMES[reason]}, ${bytes} bytes`;

const lengthOf = (carrier: Carrier): string => `length ${carrier.end - carrier.transportAt}`;

function ipv4Carrier(view: DataView, at: number, end: number): Carrier | string {
  const reason = ipv4.checkIpv4(view, at, end);
  if (reason !== DropReason.NONE) return malformed('ip', reason, end - at);
  return {
    source: formatAddress(view, at + ipv4.Ipv4Field.SOURCE, ipv4.IPV4_ADDRESS_BYTES),
    destination: formatAddress(view, at + ipv4.Ipv4Field.DESTINATION, ipv4.IPV4_ADDRESS_BYTES),
    protocol: ipv4.protocol(view, at),
    transportAt: at + ipv4.headerLength(view, at),
    end: ipv4.ipv4End(view, at),
    isFragment: ipv4.isFragment(view, at),
  };
}

function ipv6Carrier(view: DataView, at: number, end: number): Carrier | string {
  const reason = ipv6.checkIpv6(view, at, end);
  if (reason !== DropReason.NONE) return malformed('ip6', reason, end - at);
  const walk = new ipv6.ExtensionWalk();
  const packetEnd = ipv6.ipv6End(view, at);
  const walked = walk.walk(view, at, packetEnd);
  if (walked !== DropReason.NONE) return malformed('ip6', walked, end - at);
  return {
    source: formatAddress(view, at + ipv6.Ipv6Field.SOURCE, ipv6.IPV6_ADDRESS_BYTES),
    destination: formatAddress(view, at + ipv6.Ipv6Field.DESTINATION, ipv6.IPV6_ADDRESS_BYTES),
    protocol: walk.protocol,
    transportAt: walk.transportAt,
    end: packetEnd,
    isFragment: walk.isFragment,
  };
}

const withPort = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

function describeTcp(view: DataView, carrier: Carrier): string {
  const { source, destination, transportAt: at, end } = carrier;
  const reason = tcp.checkTcp(view, at, end);
  if (reason !== DropReason.NONE) {
    return `${source} > ${destination}: ${malformed('tcp', reason, end - at)}`;
  }
  const bits = tcp.flags(view, at);
  const letters = FLAG_LETTERS.filter(([bit]) => (bits & bit) !== 0).map(([, letter]) => letter);
  const payload = end - at - tcp.headerLength(view, at);
  const parts = [
    `tcp [${letters.join('')}]`,
    `seq ${tcp.sequence(view, at)}`,
    ...((bits & tcp.TcpFlag.ACK) === 0 ? [] : [`ack ${tcp.acknowledgment(view, at)}`]),
    `win ${tcp.window(view, at)}`,
    ...((bits & tcp.TcpFlag.URG) === 0 ? [] : [`urg ${tcp.urgentPointer(view, at)}`]),
    ...describeOptions(view, at),
    `length ${payload}`,
  ];
  const from = withPort(source, tcp.sourcePort(view, at));
  const to = withPort(destination, tcp.destinationPort(view, at));
  return `${from} > ${to}: ${parts.join(', ')}`;
}

function describeOptions(view: DataView, tcpAt: number): string[] {
  const options = new TcpOptions();
  if (options.parse(view, tcpAt) !== DropReason.NONE) return ['options [bad]'];
  const words: string[] = [];
  if (options.mss > 0) words.push(`mss ${options.mss}`);
  if (options.windowScale >= 0) words.push(`wscale ${options.windowScale}`);
  if (options.sackPermitted) words.push('sackOK');
  if (options.hasTimestamps) words.push(`TS val ${options.tsValue} ecr ${options.tsEcho}`);
  for (let block = 0; block < options.sackCount; block++) {
    const blockAt = options.sackAt + block * SACK_BLOCK_BYTES;
    words.push(`sack ${view.getUint32(blockAt)}:${view.getUint32(blockAt + 4)}`);
  }
  return words.length === 0 ? [] : [`options [${words.join(',')}]`];
}

function describeUdp(view: DataView, carrier: Carrier): string {
  const { source, destination, transportAt: at, end } = carrier;
  const reason = udp.checkUdp(view, at, end);
  if (reason !== DropReason.NONE) {
    return `${source} > ${destination}: ${malformed('udp', reason, end - at)}`;
  }
  const from = withPort(source, udp.sourcePort(view, at));
  const to = withPort(destination, udp.destinationPort(view, at));
  const payload = udp.datagramLength(view, at) - udp.UDP_HEADER_BYTES;
  return `${from} > ${to}: udp, length ${payload}`;
}

function describeIcmp(view: DataView, carrier: Carrier): string {
  const { source, destination, transportAt: at, end, protocol } = carrier;
  const name = protocol === Protocol.ICMP ? 'icmp' : 'icmp6';
  if (end - at < ICMP_HEADER_BYTES) {
    return `${source} > ${destination}: ${malformed(name, DropReason.BAD_ICMP_HEADER, end - at)}`;
  }
  const types = protocol === Protocol.ICMP ? icmpv4.Icmpv4Type : icmpv6.Icmpv6Type;
  const type = icmpType(view, at);
  const known = Object.entries(types).find(([, value]) => value === type);
  const typeName = known?.[0].toLowerCase().replaceAll('_', ' ') ?? `type ${type}`;
  const code = icmpCode(view, at);
  return `${source} > ${destination}: ${name} ${typeName}, code ${code}, ${lengthOf(carrier)}`;
}
