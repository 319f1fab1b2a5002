/** What is counted of flows by protocol and verdict, in cells behind those of the counters. */
import { FlowField, VerdictCode } from './flow-row.ts';
import { Protocol } from './wire/protocol.ts';

export const FlowCount = {
  /** Flows that got their verdict, or ended without one. */
  FLOWS: 0,
  /** Payload; what moves before the verdict counts as of none. */
  BYTES_UP: 1,
  BYTES_DOWN: 2,
  /** Flows that gave way in a full table. */
  EARLY_DROPPED: 3,
} as const;
export type FlowCount = (typeof FlowCount)[keyof typeof FlowCount];

/** Protocols that are told apart; the last is all that have no name. */
export const COUNTED_PROTOS = ['tcp', 'udp', 'icmp', 'other'] as const;

const PROTOS = COUNTED_PROTOS.length;
const VERDICTS = Object.keys(VerdictCode).length;

export const FLOW_COUNT_CELLS = Object.keys(FlowCount).length * VERDICTS * PROTOS;

/** @param proto  index in COUNTED_PROTOS */
export const flowCountCell = (count: FlowCount, verdict: number, proto: number): number =>
  (count * VERDICTS + verdict) * PROTOS + proto;

/** Cell of the flow whose row lies at `at`. */
export const cellOfFlow = (count: FlowCount, view: DataView, at: number): number =>
  flowCountCell(
    count,
    view.getUint8(at + FlowField.VERDICT),
    protoOf(view.getUint8(at + FlowField.PROTOCOL)),
  );

function protoOf(protocol: number): number {
  switch (protocol) {
    case Protocol.TCP:
      return 0;
    case Protocol.UDP:
      return 1;
    case Protocol.ICMP:
    case Protocol.ICMPV6:
      return 2;
    default:
      return 3;
  }
}
