/** A packet that came in, and the flow that it is of. */
import type { FlowTable } from './flow-table.ts';
import type { SynPacket } from './tcp/syn-packet.ts';
import type { Instant } from './time.ts';
import { Protocol } from './wire/protocol.ts';
import { headerLength, TCP_HEADER_BYTES } from './wire/tcp.ts';
import { UDP_HEADER_BYTES } from './wire/udp.ts';

/**
 * The IP packet under the reader's eye. There is one, and it is used again for the next; all
 * positions are of the arena.
 */
export interface Packet extends SynPacket {
  /** The vnet header, or the IP header of a frame without one. */
  frameAt: number;
  ipAt: number;
  /** End of the packet; padding of the frame may follow. */
  end: number;
  /** The header behind all extension headers. */
  transportAt: number;
  /** IANA number of that header. */
  protocol: number;
  /** DSCP and ECN, as one byte. */
  trafficClass: number;
  /**
   * Of an ICMP echo request, its identifier and 0; of a reply, 0 and its identifier. Both are 0 for
   * protocols without ports.
   */
  sourcePort: number;
  destinationPort: number;
  /** The checksum field of the transport holds the folded sum of the pseudo header, no more. */
  isPartial: boolean;
  /** Payload bytes of each packet of a superpacket; 0 for a single packet. */
  gsoSize: number;
}

/** Notes the hash by which flow tables know the tuple of a packet. */
export function hashPacket(flows: FlowTable, packet: Packet): void {
  const { sourceAt, destinationAt, addressLength, sourcePort, destinationPort } = packet;
  const ports = (sourcePort << 16) | destinationPort;
  packet.hash = flows.hashOf(sourceAt, destinationAt, addressLength, ports, packet.protocol);
}

/** As `FlowTable.find`, of the tuple of a packet, whose hash is noted. */
export function findFlow(flows: FlowTable, packet: Packet): number {
  hashPacket(flows, packet);
  return flows.find(
    packet.hash,
    packet.sourceAt,
    packet.destinationAt,
    packet.addressLength,
    packet.sourcePort,
    packet.destinationPort,
    packet.protocol,
  );
}

/** As `FlowTable.insert`, of a packet for which `findFlow` found nothing. */
export const insertFlow = (flows: FlowTable, packet: Packet, now: Instant): number =>
  flows.insert(
    packet.hash,
    packet.sourceAt,
    packet.destinationAt,
    packet.addressLength,
    packet.sourcePort,
    packet.destinationPort,
    packet.protocol,
    now,
  );

/** The packets of a superpacket, as the device would cut it. */
export function superpacketCount(view: DataView, packet: Packet): number {
  const { protocol, transportAt, end, gsoSize } = packet;
  let headerBytes = UDP_HEADER_BYTES;
  if (protocol === Protocol.TCP) {
    if (end - transportAt < TCP_HEADER_BYTES) return 1;
    headerBytes = headerLength(view, transportAt);
  }
  return Math.max(1, Math.ceil((end - transportAt - headerBytes) / gsoSize));
}

/** A packet of which nothing is known yet. */
export const emptyPacket = (): Packet => ({
  frameAt: 0,
  ipAt: 0,
  end: 0,
  transportAt: 0,
  protocol: 0,
  addressLength: 4,
  sourceAt: 0,
  destinationAt: 0,
  hopLimit: 0,
  trafficClass: 0,
  sourcePort: 0,
  destinationPort: 0,
  hash: 0,
  isPartial: false,
  gsoSize: 0,
});
