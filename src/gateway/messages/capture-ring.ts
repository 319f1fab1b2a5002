/** Captured packets, from the data plane to the supervisor: records of a ring in shared memory. */
import { FLOW_ROW_BYTES } from '../../stack/flow-row.ts';
import { RingField, ringBytes, SharedRing } from './shared-ring.ts';

const RING_BYTES = 16 * 1024 * 1024;
/** Length of the shared memory. */
export const CAPTURE_RING_BYTES = ringBytes(RING_BYTES);

export const captureRing = (memory: ArrayBuffer): SharedRing =>
  new SharedRing(memory, 0, RING_BYTES);

/** Fields of a record, in host order; behind them lie the row of the flow and the packet. */
export const RecordField = {
  /** uint8: a bit for each capture that wants it; 0 for one that nobody does. */
  WANTED_BY: RingField.IS_WANTED,
  /** uint8: PacketWay. */
  WAY: 5,
  /** uint8: DropReason. */
  REASON: 6,
  /** uint8: why it leaves, one of the counters `OUT_…`. */
  CAUSE: 7,
  /** uint32: bytes of the packet that are here, and that it has. */
  CAPTURED: 8,
  PACKET_LENGTH: 12,
  /** float64: nanoseconds of CLOCK_MONOTONIC. */
  TIME: 16,
  /** uint16: payload bytes of each packet of a superpacket, else 0. */
  GSO_SIZE: 24,
  /** uint16, counted from the IP header: what is to be summed, and where the sum goes; else 0. */
  CHECKSUM_FROM: 26,
  CHECKSUM_AT: 28,
  /** uint32: number of the newest capture that the data plane knew of. */
  NEWEST: 32,
  /** The row of the flow, or one that has the packet's ends alone and serial number 0. */
  ROW: 40,
  PACKET: 40 + FLOW_ROW_BYTES,
} as const;

export const PacketWay = {
  /** Into the gateway, out of it. */
  IN: 0,
  OUT: 1,
  /** It had come in earlier. */
  LATER: 2,
} as const;
export type PacketWay = (typeof PacketWay)[keyof typeof PacketWay];
