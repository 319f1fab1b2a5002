import type { HalfSipHash } from '../sip-hash.ts';
import type { Segment } from './segment.ts';

/** What the packet of a segment without a flow tells besides its segment. */
export interface SynPacket {
  sourceAt: number;
  destinationAt: number;
  addressLength: number;
  /** Hash of the tuple, from the look-up that found nothing. */
  hash: number;
  /** TTL or hop limit. */
  hopLimit: number;
}

/** Feeds both ends of the connection to a hash that was started. */
export function hashEnds(
  hash: HalfSipHash,
  view: DataView,
  packet: SynPacket,
  segment: Segment,
): void {
  const ports = (segment.sourcePort << 16) | segment.destinationPort;
  hashTuple(hash, view, packet.sourceAt, packet.destinationAt, packet.addressLength, ports);
}

/** The same for ends that lie anywhere. @param ports  of the source in the upper half */
export function hashTuple(
  hash: HalfSipHash,
  view: DataView,
  sourceAt: number,
  destinationAt: number,
  addressLength: number,
  ports: number,
): void {
  for (let i = 0; i < addressLength; i += 4) {
    hash.word(view.getInt32(sourceAt + i));
    hash.word(view.getInt32(destinationAt + i));
  }
  hash.word(ports);
}
