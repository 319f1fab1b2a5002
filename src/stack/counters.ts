/**
 * Counters of the packet path: float64 cells in memory that the supervisor maps too. One writer,
 * any number of readers; a cell is exact up to 2^53.
 */
import { CLOSE_REASON_COUNT } from './close-reason.ts';
import { DROP_REASON_COUNT, DropReason } from './drop-reason.ts';
import { cellOfFlow, FLOW_COUNT_CELLS, type FlowCount, flowCountCell } from './flow-counts.ts';
import {
  bucketOf,
  HISTOGRAM_CELLS,
  HISTOGRAM_COUNT,
  type Histogram,
  SUM_CELL,
} from './histograms.ts';

/** Cells that are neither drop nor close reasons. Gauges end with `_NOW`. */
export const Counter = {
  DEVICE_FRAMES_IN: 0,
  DEVICE_BYTES_IN: 1,
  DEVICE_FRAMES_OUT: 2,
  DEVICE_BYTES_OUT: 3,
  /** Frames that carried more than one MSS (gso_size set). */
  DEVICE_SUPERFRAMES_IN: 4,
  DEVICE_SUPERFRAMES_OUT: 5,
  DEVICE_UP_NOW: 6,
  OFFLOAD_NOW: 7,
  OFFLOAD_DOWNGRADES: 8,
  FLOWS_TOTAL: 9,
  FLOWS_NOW: 10,
  FLOWS_LIMIT_NOW: 11,
  HELD_SYNS_NOW: 12,
  HELD_SYNS_LIMIT_NOW: 13,
  TIME_WAIT_NOW: 14,
  SLAB_BYTES_NOW: 15,
  SLAB_BYTES_LIMIT_NOW: 16,
  TCP_RETRANSMITS: 19,
  TCP_FAST_RETRANSMITS: 20,
  TCP_TIMEOUTS: 21,
  TCP_OUT_OF_ORDER: 22,
  TCP_RESETS_SENT: 23,
  TCP_RESETS_RECEIVED: 24,
  TCP_CHALLENGE_ACKS: 25,
  TCP_ZERO_WINDOW_PROBES: 26,
  TCP_KEEPALIVES: 27,
  ICMP_SENT: 28,
  ICMP_ECHO_REPLIES: 29,
  DECISIONS_ANSWERED: 31,
  /** Answers for a flow that no longer waits. */
  DECISIONS_LATE: 32,
  /** Flows about which scripts failed to decide, or one of them, before another did. */
  DECISIONS_FAILED: 33,
  DIALS: 35,
  DIALS_NOW: 36,
  DIALS_FAILED: 37,
  LOOP_TURNS: 39,
  /** Flows that ended without a line in the log, because the supervisor was too far behind. */
  REPORTS_LOST: 41,
  SYN_COOKIES_SENT: 42,
  /** ACKs that brought a good cookie back, and those that came while cookies were out without. */
  SYN_COOKIES_RECEIVED: 43,
  SYN_COOKIES_FAILED: 44,
  /** Packets that were made of fragments. */
  PACKETS_REASSEMBLED: 45,
  /** ICMP errors about a segment in flight, and those that made a flow's segments shorter. */
  ICMP_ERRORS_MATCHED: 46,
  PATH_MTU_LOWERED: 47,
  /** Data packets that came with CE, and windows that were cut because ECE came. */
  ECN_MARKED: 48,
  ECN_WINDOW_CUTS: 49,
  /** Flows whose full-sized segments timed out again and again, and became shorter. */
  BLACK_HOLES_SUSPECTED: 50,
  /** Flows rewritten at L3, flows over datagram sockets, and NAT mappings. */
  NAT_FLOWS_NOW: 51,
  SESSIONS_NOW: 52,
  NAT_MAPPINGS_NOW: 53,
  /** Packets rewritten and handed back, and superpackets among them. */
  NAT_PACKETS: 54,
  NAT_SUPERPACKETS: 55,
  FLOWS_REAPED: 56,
  /** Datagrams from clients to upstreams and back, and system calls that moved them. */
  DATAGRAMS_UP: 58,
  DATAGRAMS_DOWN: 59,
  DATAGRAM_SENDS: 60,
  DATAGRAM_RECEIVES: 61,
  /** ICMP errors passed on to a client, translated. */
  ICMP_ERRORS_RELAYED: 62,
  /** Flows that scripts claimed: all, those over the limit, those handed over to the splice. */
  CLAIMS_TOTAL: 63,
  CLAIMS_REFUSED: 64,
  CLAIMS_SPLICED: 65,
  /** Those that a script talks to, and sockets that they dialled. */
  CLAIMS_NOW: 66,
  CLAIM_SOCKETS_NOW: 67,
  /** Messages of a script host that were malformed or against the rules, or came too late. */
  CONN_MESSAGES_REFUSED: 68,
  CONN_MESSAGES_LATE: 69,
  /** How often the socket to the script host was full. */
  CONN_STALLS: 70,
  /** Frames handed over to the data planes of other queues, and taken from them. */
  PEER_FRAMES_OUT: 71,
  PEER_FRAMES_IN: 72,
  /** What scripts dial outside of claimed flows: sockets of now, and dials. */
  OWN_SOCKETS_NOW: 73,
  OWN_DIALS: 74,
  /** What became of the frames that came in, and those that still wait: see accounting.ts. */
  IN_TCP: 75,
  IN_NAT: 76,
  IN_SESSION: 77,
  IN_ICMP_ERROR: 78,
  IN_ANSWERED: 79,
  IN_REASSEMBLED: 80,
  IN_FRAGMENTS_NOW: 81,
  IN_PARKED_NOW: 82,
  /** Why frames went out. */
  OUT_TCP_DATA: 83,
  OUT_TCP_ACK: 84,
  OUT_TCP_SYN: 85,
  OUT_TCP_RST: 86,
  OUT_NAT: 87,
  OUT_UDP: 88,
  OUT_ICMP: 89,
  /** IP packets: those of a superframe one by one. */
  DEVICE_PACKETS_IN: 90,
  DEVICE_PACKETS_OUT: 91,
  /** Payload through the sockets of upstreams. */
  UPSTREAM_BYTES_SENT: 92,
  UPSTREAM_BYTES_RECEIVED: 93,
  /** Captures that run, packets that went to one, and those that it had no room for. */
  CAPTURES_NOW: 94,
  CAPTURED: 95,
  CAPTURE_LOST: 96,
  /** Dials under way by upstreams that have a name; DIALS* count the others. */
  VIA_DIALS_NOW: 97,
  /** Calls of the device that failed, by what the kernel said (dataplane/tun-errors.ts). */
  DEVICE_READ_REFUSED: 100,
  DEVICE_READ_MEMORY: 101,
  DEVICE_READ_FAULT: 102,
  DEVICE_READ_OTHER: 103,
  DEVICE_WRITE_REFUSED: 104,
  DEVICE_WRITE_TOO_LONG: 105,
  DEVICE_WRITE_DOWN: 106,
  DEVICE_WRITE_GONE: 107,
  DEVICE_WRITE_BUSY: 108,
  DEVICE_WRITE_MEMORY: 109,
  DEVICE_WRITE_FAULT: 110,
  DEVICE_WRITE_OTHER: 111,
  /** Segmentation given up because of EIO; because of anything else is OFFLOAD_DOWNGRADES. */
  OFFLOAD_DOWNGRADES_EIO: 112,
  /** Packets of a device without superpackets that became part of one here. */
  PACKETS_COALESCED: 113,
  /** Wake-ups of the device, and those that left something there for the next. */
  DEVICE_READ_BATCHES: 114,
  DEVICE_READ_BATCHES_FULL: 115,
  /** Sockets that outlive their client, what they still sent, and what nobody ever had. */
  ORPHANS_NOW: 116,
  ORPHAN_BYTES_SENT: 117,
  ORPHAN_BYTES_LOST: 118,
  /** Packets that a prefix rule translated. */
  PREFIX_PACKETS: 119,
  /** How many flows of one source may be held. */
  HELD_SYNS_SOURCE_LIMIT_NOW: 120,
  /** Answers of DNS servers that the script host was shown, and those that it had no room for. */
  DNS_ANSWERS_SEEN: 121,
  DNS_ANSWERS_LOST: 122,
  /** Connections in the tarpit: of now, all, and those that it had no room for. */
  TARPIT_NOW: 123,
  TARPIT_TOTAL: 124,
  TARPIT_REFUSED: 125,
} as const;
export type Counter = (typeof Counter)[keyof typeof Counter];

const NAMED_CELLS = 128;
const REASON_CELLS = 64;

const HISTOGRAMS_AT = NAMED_CELLS + 2 * REASON_CELLS;
const FLOW_COUNTS_AT = HISTOGRAMS_AT + HISTOGRAM_COUNT * HISTOGRAM_CELLS;

/** Size of the memory that holds all cells. */
export const COUNTERS_BYTES = (FLOW_COUNTS_AT + FLOW_COUNT_CELLS) * 8;

/** What can be asked of the counters of one data plane, or of all. */
export interface CounterReader {
  get(counter: Counter): number;
  dropped(reason: number): number;
  closed(reason: number): number;
  /** Of one verdict and one of COUNTED_PROTOS, by their numbers. */
  flows(count: FlowCount, verdict: number, proto: number): number;
  /** Values in one bucket alone, and the sum of all. */
  bucket(histogram: Histogram, bucket: number): number;
  sum(histogram: Histogram): number;
}

export class Counters implements CounterReader {
  readonly #cells: Float64Array;
  /** Why the frame under the reader's eye was dropped; NONE when it was not. */
  arrivedReason: DropReason = DropReason.NONE;

  constructor(buffer: ArrayBuffer, at = 0) {
    this.#cells = new Float64Array(buffer, at, COUNTERS_BYTES / 8);
  }

  add(counter: Counter, by = 1): void {
    this.#cells[counter]! += by;
  }

  set(counter: Counter, value: number): void {
    this.#cells[counter] = value;
  }

  get(counter: Counter): number {
    return this.#cells[counter] ?? 0;
  }

  /** Counts dropped packets and hands the reason on, so that a caller can return it. */
  drop(reason: DropReason, by = 1): DropReason {
    if (reason !== DropReason.NONE) this.#cells[NAMED_CELLS + reason]! += by;
    return reason;
  }

  /** As `drop`, of the frame under the reader's eye: NONE says that it was not. */
  settleArrival(reason: DropReason): void {
    if (reason === DropReason.NONE) return;
    this.arrivedReason = reason;
    this.#cells[NAMED_CELLS + reason]! += 1;
  }

  dropped(reason: number): number {
    return this.#cells[NAMED_CELLS + reason] ?? 0;
  }

  close(reason: number): void {
    this.#cells[NAMED_CELLS + REASON_CELLS + reason]! += 1;
  }

  closed(reason: number): number {
    return this.#cells[NAMED_CELLS + REASON_CELLS + reason] ?? 0;
  }

  /** Counts for the verdict and the protocol of the flow whose row lies at `at`. */
  countFlow(count: FlowCount, view: DataView, at: number, by = 1): void {
    this.#cells[FLOW_COUNTS_AT + cellOfFlow(count, view, at)]! += by;
  }

  flows(count: FlowCount, verdict: number, proto: number): number {
    return this.#cells[FLOW_COUNTS_AT + flowCountCell(count, verdict, proto)] ?? 0;
  }

  /** Counts a value in its bucket. */
  observe(histogram: Histogram, value: number): void {
    const at = HISTOGRAMS_AT + histogram * HISTOGRAM_CELLS;
    this.#cells[at + bucketOf(histogram, value)]! += 1;
    this.#cells[at + SUM_CELL]! += value;
  }

  /** Values in one bucket alone. */
  bucket(histogram: Histogram, bucket: number): number {
    return this.#cells[HISTOGRAMS_AT + histogram * HISTOGRAM_CELLS + bucket] ?? 0;
  }

  sum(histogram: Histogram): number {
    return this.bucket(histogram, SUM_CELL);
  }
}

if (DROP_REASON_COUNT > REASON_CELLS || CLOSE_REASON_COUNT > REASON_CELLS) {
  throw new Error('more reasons than cells');
}
