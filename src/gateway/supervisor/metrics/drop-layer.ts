/** Where in the stack a packet was dropped: the label `layer`. */
import { DropReason } from '../../../stack/drop-reason.ts';

export type DropLayer =
  | 'ip'
  | 'tcp'
  | 'udp'
  | 'icmp'
  | 'conntrack'
  | 'limit'
  | 'policy'
  | 'upstream'
  | 'device';

/** First reason of each run of reasons; drop-reason.ts orders them so. */
const RUNS: readonly (readonly [first: number, layer: DropLayer])[] = [
  [DropReason.FRAME_TOO_SHORT, 'device'],
  [DropReason.BAD_IP_VERSION, 'ip'],
  [DropReason.BAD_TCP_HEADER, 'tcp'],
  [DropReason.BAD_UDP_HEADER, 'udp'],
  [DropReason.BAD_ICMP_HEADER, 'icmp'],
  [DropReason.UDP_UNSUPPORTED, 'udp'],
  [DropReason.FLOW_TABLE_FULL, 'limit'],
  [DropReason.VERDICT_DROP, 'policy'],
  [DropReason.DEVICE_WRITE_FAILED, 'device'],
  [DropReason.CONNTRACK_INVALID, 'conntrack'],
  [DropReason.CONNTRACK_SOURCE_LIMIT, 'limit'],
  [DropReason.PACKET_TOO_BIG, 'ip'],
  [DropReason.UPSTREAM_FULL, 'upstream'],
  [DropReason.HOP_LIMIT_EXCEEDED, 'ip'],
  [DropReason.REFUSED_AGAIN, 'policy'],
  [DropReason.PEER_FULL, 'device'],
  [DropReason.FLOW_ENDED, 'policy'],
  [DropReason.ECHO_RATE_LIMIT, 'icmp'],
  [DropReason.FLOW_SOURCE_LIMIT, 'limit'],
];

export const dropLayer = (reason: number): DropLayer =>
  RUNS.findLast(([first]) => reason >= first)?.[1] ?? 'device';
