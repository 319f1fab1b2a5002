/** New flows in a capture: SYNs, first datagrams and first echo requests. */
import type { RecordedFlow } from '../../scripts-runtime/recorded-flow.ts';
import { DropReason } from '../../stack/drop-reason.ts';
import { DEFAULT_MSS } from '../../stack/tcp/peer-syn.ts';
import type { Endpoint } from '../../stack/verdict.ts';
import { echoIdentifier, ICMP_HEADER_BYTES, icmpType } from '../../stack/wire/icmp.ts';
import * as icmpv4 from '../../stack/wire/icmpv4.ts';
import * as icmpv6 from '../../stack/wire/icmpv6.ts';
import { formatAddress } from '../../stack/wire/ip-address.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import * as ipv6 from '../../stack/wire/ipv6.ts';
import { Protocol } from '../../stack/wire/protocol.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import { TcpOptions } from '../../stack/wire/tcp-options.ts';
import * as udp from '../../stack/wire/udp.ts';
import { type CapturedPacket, readCapture } from './capture.ts';

interface Carrier {
  readonly family: 4 | 6;
  readonly sourceIp: string;
  readonly destinationIp: string;
  readonly protocol: number;
  readonly transportAt: number;
  readonly end: number;
  /** TTL or hop limit. */
  readonly ttl: number;
}

/**
 * The flows that begin in a capture, in its order. What is seen of a flow later, in either
 * direction, is no new one; a SYN that is sent again is none either.
 *
 * @param limit  flows at most
 * @throws CaptureError
 */
export function flowsOfCapture(bytes: Uint8Array, limit: number): RecordedFlow[] {
  const seen = new Set<string>();
  const flows: RecordedFlow[] = [];
  for (const packet of readCapture(bytes)) {
    if (flows.length >= limit) break;
    const flow = newFlowOf(packet, seen);
    if (flow !== undefined) flows.push(flow);
  }
  return flows;
}

function newFlowOf({ atMs, view }: CapturedPacket, seen: Set<string>): RecordedFlow | undefined {
  const carrier = ipv4.version(view, 0) === 6 ? ipv6Carrier(view) : ipv4Carrier(view);
  if (carrier === undefined) return undefined;
  const flow = flowOf(view, carrier);
  if (flow === undefined) return undefined;
  const { protocol, source, destination, syn } = flow;
  const there = `${protocol} ${source.ip} ${source.port} ${destination.ip} ${destination.port}`;
  const back = `${protocol} ${destination.ip} ${destination.port} ${source.ip} ${source.port}`;
  // A port can be used again: a SYN with another sequence number is another connection.
  const number = syn === undefined ? '' : ` ${tcp.sequence(view, carrier.transportAt)}`;
  if (seen.has(there + number) || (syn === undefined && seen.has(back))) return undefined;
  seen.add(there + number);
  return { ...flow, ...(atMs === 0 ? {} : { atMs }) };
}

function ipv4Carrier(view: DataView): Carrier | undefined {
  const end = view.byteLength;
  if (ipv4.checkIpv4(view, 0, end) !== DropReason.NONE || ipv4.isFragment(view, 0))
    return undefined;
  return {
    family: 4,
    sourceIp: formatAddress(view, ipv4.Ipv4Field.SOURCE, ipv4.IPV4_ADDRESS_BYTES),
    destinationIp: formatAddress(view, ipv4.Ipv4Field.DESTINATION, ipv4.IPV4_ADDRESS_BYTES),
    protocol: ipv4.protocol(view, 0),
    transportAt: ipv4.headerLength(view, 0),
    end: ipv4.ipv4End(view, 0),
    ttl: ipv4.ttl(view, 0),
  };
}

function ipv6Carrier(view: DataView): Carrier | undefined {
  if (ipv6.checkIpv6(view, 0, view.byteLength) !== DropReason.NONE) return undefined;
  const walk = new ipv6.ExtensionWalk();
  const end = ipv6.ipv6End(view, 0);
  if (walk.walk(view, 0, end) !== DropReason.NONE || walk.isFragment) return undefined;
  return {
    family: 6,
    sourceIp: formatAddress(view, ipv6.Ipv6Field.SOURCE, ipv6.IPV6_ADDRESS_BYTES),
    destinationIp: formatAddress(view, ipv6.Ipv6Field.DESTINATION, ipv6.IPV6_ADDRESS_BYTES),
    protocol: walk.protocol,
    transportAt: walk.transportAt,
    end,
    ttl: ipv6.hopLimit(view, 0),
  };
}

function flowOf(view: DataView, carrier: Carrier): RecordedFlow | undefined {
  const { protocol, transportAt: at, end } = carrier;
  switch (protocol) {
    case Protocol.TCP:
      return tcp.checkTcp(view, at, end) === DropReason.NONE ? tcpFlow(view, carrier) : undefined;
    case Protocol.UDP:
      if (udp.checkUdp(view, at, end) !== DropReason.NONE) return undefined;
      return {
        protocol: 'udp',
        ...endsOf(carrier, udp.sourcePort(view, at), udp.destinationPort(view, at)),
      };
    case Protocol.ICMP: {
      if (icmpv4.checkIcmpv4(view, at, end) !== DropReason.NONE) return undefined;
      if (icmpType(view, at) !== icmpv4.Icmpv4Type.ECHO_REQUEST) return undefined;
      return { protocol: 'icmp', ...endsOf(carrier, echoIdentifier(view, at), 0) };
    }
    case Protocol.ICMPV6: {
      if (end - at < ICMP_HEADER_BYTES) return undefined;
      if (icmpType(view, at) !== icmpv6.Icmpv6Type.ECHO_REQUEST) return undefined;
      return { protocol: 'icmp', ...endsOf(carrier, echoIdentifier(view, at), 0) };
    }
    default:
      return undefined;
  }
}

function tcpFlow(view: DataView, carrier: Carrier): RecordedFlow | undefined {
  const at = carrier.transportAt;
  const flags = tcp.flags(view, at);
  const { SYN, ACK, RST, FIN, ECE, CWR } = tcp.TcpFlag;
  if ((flags & (SYN | ACK | RST | FIN)) !== SYN) return undefined;
  const options = new TcpOptions();
  if (options.parse(view, at) !== DropReason.NONE) options.clear();
  return {
    protocol: 'tcp',
    ...endsOf(carrier, tcp.sourcePort(view, at), tcp.destinationPort(view, at)),
    syn: {
      mss: options.mss || DEFAULT_MSS[carrier.family],
      windowScale: Math.max(options.windowScale, 0),
      ttl: carrier.ttl,
      ecn: (flags & (ECE | CWR)) === (ECE | CWR),
    },
  };
}

const endsOf = (
  { family, sourceIp, destinationIp }: Carrier,
  sourcePort: number,
  destinationPort: number,
): { readonly source: Endpoint; readonly destination: Endpoint } => ({
  source: { ip: sourceIp, port: sourcePort, family },
  destination: { ip: destinationIp, port: destinationPort, family },
});
