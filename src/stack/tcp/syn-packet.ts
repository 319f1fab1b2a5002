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
  for (let i = 0; i < packet.addressLength; i += 4) {
    hash.word(view.getInt32(packet.sourceAt + i));
    hash.word(view.getInt32(packet.destinationAt + i));
  }
  hash.word((segment.sourcePort << 16) | segment.destinationPort);
}
