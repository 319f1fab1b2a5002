/**
 * The transmission control blocks, RFC 9293 §3.3.1: one row per flow, beside the flow's own row, in
 * memory that another process can take over. Code reads and writes them through one cursor that is
 * moved from row to row; it says `tcb.sndUna`, and nothing is allocated.
 *
 * The cursor is shared: whoever enters the TCP from outside moves it (`moveTo`) and is done with it
 * when it returns. A handler called from inside may touch its own flow only.
 */
import { FLOW_ROW_BYTES, FlowField, FlowPhase } from '../flow-row.ts';
import { type Instant, NEVER } from '../time.ts';
import type { Seq } from '../wire/seq.ts';
import { TCP_EDGES, TcpState, tcpStateName } from './states.ts';

/**
 * Offsets in bytes; instants are float64, all else 32 bits wide where nothing else is said, in host
 * byte order.
 */
export const TcbField = {
  RTT_SENT_AT: 0,
  TS_RECENT_AT: 8,
  RTX_DEADLINE: 16,
  ACK_DEADLINE: 24,
  KEEPALIVE_DEADLINE: 32,
  LIFE_DEADLINE: 40,
  LAST_RECEIVED_AT: 48,
  SND_UNA: 56,
  SND_NXT: 60,
  SND_WND: 64,
  SND_WL1: 68,
  SND_WL2: 72,
  ISS: 76,
  RCV_NXT: 80,
  RCV_EDGE: 84,
  IRS: 88,
  LAST_ACK_SENT: 92,
  FIN_SEQ: 96,
  MSS: 100,
  SYN_MSS: 104,
  RCV_MSS: 108,
  MAX_SND_WND: 112,
  FLAGS: 116,
  SND_SCALE: 120,
  RCV_SCALE: 124,
  TS_RECENT: 128,
  TS_OFFSET: 132,
  CWND: 136,
  SSTHRESH: 140,
  CWND_CREDIT: 144,
  RECOVER: 148,
  RTX_NXT: 152,
  DUP_ACKS: 156,
  SRTT_US: 160,
  RTTVAR_US: 164,
  RTO_US: 168,
  BACKOFF: 172,
  RTT_SEQ: 176,
  UNACKED_BYTES: 180,
  PROBES: 184,
  SEND_HEAD: 188,
  SEND_TAIL: 192,
  SEND_SLAB_BYTES: 196,
  BACKLOG_HEAD: 200,
  BACKLOG_TAIL: 204,
  BACKLOG_BYTES: 208,
  ASSEMBLY_HEAD: 212,
  ASSEMBLY_TAIL: 216,
  ASSEMBLY_BYTES: 220,
  ASSEMBLY_COUNT: 224,
  ACK_NEXT: 228,
  WAIT_NEXT: 232,
  WAIT_PREVIOUS: 236,
  SOURCE_BUCKET: 240,
  RCV_SACK_COUNT: 244,
  DSACK_LEFT: 248,
  DSACK_RIGHT: 252,
  /** RCV_SACK_BLOCKS times left and right edge. */
  RCV_SACKS: 256,
  RACK_SENT_AT: 288,
  MIN_RTT_AT: 296,
  RTO_AT: 304,
  SACKED_BYTES: 312,
  LOST_BYTES: 316,
  RACK_END: 320,
  RACK_RTT_US: 324,
  RACK_FACK: 328,
  REORDER_STEPS: 332,
  REORDER_PERSIST: 336,
  DSACK_ROUND: 340,
  MIN_RTT_US: 344,
  TIMER_KIND: 348,
  PROBE_END: 352,
  PRR_DELIVERED: 356,
  PRR_OUT: 360,
  RECOVER_FLIGHT: 364,
  UNDO_MARK: 368,
  UNDO_BYTES: 372,
  PRIOR_CWND: 376,
  PRIOR_SSTHRESH: 380,
  RESENT_TS: 384,
  CONGESTION: 388,
  LAST_SENT_AT: 392,
  CUBIC_EPOCH_AT: 400,
  CUBIC_MAX: 408,
  CUBIC_MAX_BEFORE: 416,
  CUBIC_PRIOR: 424,
  CUBIC_K: 432,
  CUBIC_RENO: 440,
  CUBIC_CARRY: 448,
  HYSTART_END: 456,
  ROUND_MIN_US: 460,
  LAST_ROUND_MIN_US: 464,
  ROUND_SAMPLES: 468,
  CSS_BASE_US: 472,
  CSS_ROUNDS: 476,
  CHALLENGED_AT_MS: 480,
  RCV_BUFFER: 484,
  TUNE_AT: 488,
  TUNE_SEQ: 496,
  TUNE_BEST: 500,
  QUICK_ACKS: 504,
  CUT_END: 508,
  SYN_ACKS: 512,
  ECN_PAUSE: 516,
  /** Pacing, delivery rate and BBR, behind a cursor of their own: bbr-state.ts. */
  PACE_AT: 520,
  DELIVERED_AT: 528,
  FIRST_SENT_AT: 536,
  /** float32. */
  PACING_RATE: 544,
  DELIVERED: 548,
  APP_LIMITED_UNTIL: 552,
  ROUND_END: 556,
  ROUND_COUNT: 560,
  /** Four uint8. */
  BBR_MODE: 564,
  BBR_PHASE: 565,
  FULL_BANDWIDTH_ROUNDS: 566,
  LOSS_EVENTS: 567,
  BBR_MIN_RTT_US: 568,
  /** Instants modulo 2^32. */
  BBR_MIN_RTT_AT: 572,
  BBR_PHASE_AT: 576,
  /** float32. */
  FULL_BANDWIDTH: 580,
  LOST_IN_ROUND: 584,
  /** BANDWIDTH_SLOTS float32. */
  BANDWIDTHS: 588,
  BANDWIDTH_EPOCH: 608,
  INFLIGHT_HIGH: 612,
  DIAL_ERROR: 616,
  STALL_UNA: 624,
  /** uint8 */
  STALL_TIMEOUTS: 628,
  MTU_PROBES: 629,
  /** uint16 */
  FULL_MSS: 630,
  MTU_PROBE_END: 632,
  UNACKED_SINCE_MS: 636,
} as const;

/** Blocks of early bytes that are remembered: as many as a segment has room for. */
export const RCV_SACK_BLOCKS = 4;

export const TCB_ROW_BYTES = 640;

export const TcbFlag = {
  /** Timestamps were negotiated: they stand on every segment (RFC 7323 §3.2). */
  TIMESTAMPS: 1,
  /** Window scaling was negotiated. */
  SCALING: 2,
  /** The peer takes selective acknowledgments. */
  SACK: 4,
  /** CLOSE was called: a FIN ends the send queue. */
  FIN_SENT: 8,
  /** A FIN of the peer was seen, at finSeq; it counts once all before it arrived. */
  FIN_SEEN: 16,
  /** The peer's FIN was taken in order: nothing follows. */
  FIN_RECEIVED: 32,
  /** The row is in the list of those that owe an acknowledgment. */
  ACK_LISTED: 64,
  /** The acknowledgment may not wait. */
  ACK_NOW: 128,
  /** The owner has bytes to send and found no room. */
  SEND_WANTED: 256,
  /** Fast recovery, RFC 6582. */
  FAST_RECOVERY: 512,
  /** Recovery after a timeout: everything up to `recover` is sent again. */
  LOSS_RECOVERY: 1024,
  /** The stack opened it: the handshake began with our SYN. */
  OPENED: 2048,
  /** The flow's end was reported: no more calls to its owner. */
  REPORTED: 4096,
  /** The upstream was told of the peer's FIN. */
  FIN_DELIVERED: 8192,
  /** The SYN asked for ECN, and nothing has taken that back; see ecn.ts. */
  ECN_SETUP: 16384,
  /** Counted among the held SYNs. */
  HELD_COUNTED: 32768,
  /** CLOSE was called in SYN-RECEIVED: the FIN follows the handshake. */
  CLOSE_WANTED: 65536,
  /** The next segment reports dsackLeft to dsackRight. */
  DSACK_OWED: 131072,
  /** A tail loss probe is out, RFC 8985 §7. */
  PROBING: 262144,
  /** Something was sent again since the last cut of the window. */
  RESENT_ANY: 524288,
  /** Segments overtook each other on this path: RACK.reordering_seen. */
  REORDERED: 1048576,
  /** The FIN counts as lost. */
  FIN_LOST: 2097152,
  /** The last cut of the window may prove to have been a mistake. */
  UNDOABLE: 4194304,
  /** A duplicate was reported in this round trip: RACK.dsack_round is set. */
  DSACK_SEEN: 8388608,
  /** ECN is in use, RFC 3168: CE is answered with ECE. With ECN_SETUP, we send ECT as well. */
  ECN: 16777216,
  /** A packet came with CE: ECE stands on every segment until one with CWR comes. */
  ECE_OWED: 33554432,
  /** The window was cut: CWR stands on the next new data. */
  CWR_OWED: 67108864,
  /** What is sent is spread over time; see pacing.ts. */
  PACED: 536870912,
  /** The pacer will wake this flow. */
  PACE_WAIT: 1073741824,
  /** A packet longer than the others is out, to find out whether the path takes it. */
  MTU_PROBING: 134217728,
  /** `congestion` was chosen for this flow, and is not the configured one. */
  CONGESTION_CHOSEN: 268435456,
} as const;

/** In recovery of either kind. */
export const RECOVERING = TcbFlag.FAST_RECOVERY | TcbFlag.LOSS_RECOVERY;

/** What rtxDeadline is for. */
export const TimerKind = {
  /** The retransmission timeout of RFC 6298, or the persist timer. */
  TIMEOUT: 0,
  /** A tail loss probe, RFC 8985 §7.2. */
  PROBE: 1,
  /** What may only be late counts as lost then, RFC 8985 §6.3. */
  REORDER: 2,
} as const;
export type TimerKind = (typeof TimerKind)[keyof typeof TimerKind];

/** Not a row. */
export const NO_ROW = -1;

export class Tcb {
  row = NO_ROW;
  /** Position of the row in the arena. */
  at = 0;
  /** Position of the flow's row. */
  flowAt = 0;
  readonly #view: DataView;
  readonly #rowsAt: number;
  readonly #flowsAt: number;

  /** @param flowsAt  position of flow row 0 */
  constructor(view: DataView, rowsAt: number, flowsAt: number) {
    this.#view = view;
    this.#rowsAt = rowsAt;
    this.#flowsAt = flowsAt;
  }

  /** Another cursor over the same rows. */
  cursor(): Tcb {
    return new Tcb(this.#view, this.#rowsAt, this.#flowsAt);
  }

  moveTo(row: number): this {
    this.row = row;
    this.at = this.#rowsAt + row * TCB_ROW_BYTES;
    this.flowAt = this.#flowsAt + row * FLOW_ROW_BYTES;
    return this;
  }

  /** Makes the row that of a connection in CLOSED: nothing sent, nothing queued, no timer. */
  clear(): void {
    for (let i = 0; i < TCB_ROW_BYTES; i += 8) this.#view.setFloat64(this.at + i, 0);
    this.sendHead = this.sendTail = NO_ROW;
    this.backlogHead = this.backlogTail = NO_ROW;
    this.assemblyHead = this.assemblyTail = NO_ROW;
    this.ackNext = this.waitNext = this.waitPrevious = NO_ROW;
    this.rtxDeadline = this.ackDeadline = this.keepaliveDeadline = this.lifeDeadline = NEVER;
    this.rtoAt = NEVER;
    this.#view.setUint8(this.flowAt + FlowField.TCP_STATE, TcpState.CLOSED);
  }

  get state(): TcpState {
    return this.#view.getUint8(this.flowAt + FlowField.TCP_STATE) as TcpState;
  }

  /** Every change of state passes here, so that the edge is checked and readers see it. */
  transition(to: TcpState): void {
    if (to !== TcpState.CLOSED && !TCP_EDGES[this.state].includes(to)) {
      throw new Error(`no edge ${tcpStateName(this.state)} -> ${tcpStateName(to)}`);
    }
    this.#view.setUint8(this.flowAt + FlowField.TCP_STATE, to);
  }

  get phase(): FlowPhase {
    return this.#view.getUint8(this.flowAt + FlowField.PHASE) as FlowPhase;
  }
  set phase(value: FlowPhase) {
    this.#view.setUint8(this.flowAt + FlowField.PHASE, value);
  }

  /** The owner has not answered yet: the SYN is held, or the client waits behind a cookie. */
  get isWaiting(): boolean {
    return this.phase === FlowPhase.DECIDING || this.phase === FlowPhase.DIALING;
  }

  /** The flow ended during this call, and its row is free. */
  get isGone(): boolean {
    return this.phase === FlowPhase.FREE;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  raise(flag: number): void {
    this.flags |= flag;
  }

  lower(flag: number): void {
    this.flags &= ~flag;
  }

  /** Bytes sent and not acknowledged, SYN and FIN included. */
  get flightSize(): number {
    return (this.sndNxt - this.sndUna) >>> 0;
  }

  /** Bytes in the network, as far as is known: `pipe` of RFC 6675 §4. */
  get inFlight(): number {
    return Math.max(0, this.flightSize - this.sackedBytes - this.lostBytes);
  }

  /** RCV.WND: what the peer may send beyond rcvNxt. A FIN may stand right behind the edge. */
  get rcvWnd(): number {
    return Math.max(0, (this.rcvEdge - this.rcvNxt) | 0);
  }

  /** Adds to a float64 count of the flow's row. */
  count(field: number, by: number): void {
    const at = this.flowAt + field;
    this.#view.setFloat64(at, this.#view.getFloat64(at, true) + by, true);
  }

  /** A byte or a FIN went by: the silence that the idle timeouts measure starts again. */
  touch(now: Instant): void {
    this.#view.setFloat64(this.flowAt + FlowField.LAST_USED_AT, now, true);
  }

  /** When the segment that rttSeq ends was sent; 0 when none is timed. */
  get rttSentAt(): Instant {
    return this.#view.getFloat64(this.at + TcbField.RTT_SENT_AT, true) as Instant;
  }
  set rttSentAt(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.RTT_SENT_AT, value, true);
  }

  /** When tsRecent was taken. */
  get tsRecentAt(): Instant {
    return this.#view.getFloat64(this.at + TcbField.TS_RECENT_AT, true) as Instant;
  }
  set tsRecentAt(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.TS_RECENT_AT, value, true);
  }

  /** Retransmission or persist timer. */
  get rtxDeadline(): Instant {
    return this.#view.getFloat64(this.at + TcbField.RTX_DEADLINE, true) as Instant;
  }
  set rtxDeadline(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.RTX_DEADLINE, value, true);
  }

  /** Delayed acknowledgment. */
  get ackDeadline(): Instant {
    return this.#view.getFloat64(this.at + TcbField.ACK_DEADLINE, true) as Instant;
  }
  set ackDeadline(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.ACK_DEADLINE, value, true);
  }

  get keepaliveDeadline(): Instant {
    return this.#view.getFloat64(this.at + TcbField.KEEPALIVE_DEADLINE, true) as Instant;
  }
  set keepaliveDeadline(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.KEEPALIVE_DEADLINE, value, true);
  }

  /** End of what the phase allows: held, dialling, handshake, TIME-WAIT. */
  get lifeDeadline(): Instant {
    return this.#view.getFloat64(this.at + TcbField.LIFE_DEADLINE, true) as Instant;
  }
  set lifeDeadline(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.LIFE_DEADLINE, value, true);
  }

  /** When the last segment of the peer arrived. */
  get lastReceivedAt(): Instant {
    return this.#view.getFloat64(this.at + TcbField.LAST_RECEIVED_AT, true) as Instant;
  }
  set lastReceivedAt(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.LAST_RECEIVED_AT, value, true);
  }

  /** SND.UNA: oldest sequence number not yet acknowledged. */
  get sndUna(): Seq {
    return this.#view.getUint32(this.at + TcbField.SND_UNA, true) as Seq;
  }
  set sndUna(value: Seq) {
    this.#view.setUint32(this.at + TcbField.SND_UNA, value, true);
  }

  /** SND.NXT: next sequence number to be sent. */
  get sndNxt(): Seq {
    return this.#view.getUint32(this.at + TcbField.SND_NXT, true) as Seq;
  }
  set sndNxt(value: Seq) {
    this.#view.setUint32(this.at + TcbField.SND_NXT, value, true);
  }

  /** SND.WND in bytes, scaled. */
  get sndWnd(): number {
    return this.#view.getUint32(this.at + TcbField.SND_WND, true);
  }
  set sndWnd(value: number) {
    this.#view.setUint32(this.at + TcbField.SND_WND, value, true);
  }

  /** SND.WL1: sequence number of the last window update. */
  get sndWl1(): Seq {
    return this.#view.getUint32(this.at + TcbField.SND_WL1, true) as Seq;
  }
  set sndWl1(value: Seq) {
    this.#view.setUint32(this.at + TcbField.SND_WL1, value, true);
  }

  /** SND.WL2: acknowledgment number of the last window update. */
  get sndWl2(): Seq {
    return this.#view.getUint32(this.at + TcbField.SND_WL2, true) as Seq;
  }
  set sndWl2(value: Seq) {
    this.#view.setUint32(this.at + TcbField.SND_WL2, value, true);
  }

  /** What ICMP said of the dial, should it come to nothing: a CloseReason, or NONE. */
  get dialError(): number {
    return this.#view.getUint32(this.at + TcbField.DIAL_ERROR, true);
  }
  set dialError(value: number) {
    this.#view.setUint32(this.at + TcbField.DIAL_ERROR, value, true);
  }

  /** ISS: initial send sequence number. */
  get iss(): Seq {
    return this.#view.getUint32(this.at + TcbField.ISS, true) as Seq;
  }
  set iss(value: Seq) {
    this.#view.setUint32(this.at + TcbField.ISS, value, true);
  }

  /** RCV.NXT: next sequence number expected. */
  get rcvNxt(): Seq {
    return this.#view.getUint32(this.at + TcbField.RCV_NXT, true) as Seq;
  }
  set rcvNxt(value: Seq) {
    this.#view.setUint32(this.at + TcbField.RCV_NXT, value, true);
  }

  /** RCV.NXT + RCV.WND as last advertised: the right edge, which never moves left. */
  get rcvEdge(): Seq {
    return this.#view.getUint32(this.at + TcbField.RCV_EDGE, true) as Seq;
  }
  set rcvEdge(value: Seq) {
    this.#view.setUint32(this.at + TcbField.RCV_EDGE, value, true);
  }

  /** IRS: initial receive sequence number. */
  get irs(): Seq {
    return this.#view.getUint32(this.at + TcbField.IRS, true) as Seq;
  }
  set irs(value: Seq) {
    this.#view.setUint32(this.at + TcbField.IRS, value, true);
  }

  /** Last.ACK.sent of RFC 7323 §4.3. */
  get lastAckSent(): Seq {
    return this.#view.getUint32(this.at + TcbField.LAST_ACK_SENT, true) as Seq;
  }
  set lastAckSent(value: Seq) {
    this.#view.setUint32(this.at + TcbField.LAST_ACK_SENT, value, true);
  }

  /** Sequence number of the peer's FIN; valid with FIN_SEEN. */
  get finSeq(): Seq {
    return this.#view.getUint32(this.at + TcbField.FIN_SEQ, true) as Seq;
  }
  set finSeq(value: Seq) {
    this.#view.setUint32(this.at + TcbField.FIN_SEQ, value, true);
  }

  /** Payload bytes of a full-sized segment that we send, options deducted. */
  get mss(): number {
    return this.#view.getUint32(this.at + TcbField.MSS, true);
  }
  set mss(value: number) {
    this.#view.setUint32(this.at + TcbField.MSS, value, true);
  }

  /** SND.UNA when the timer ran out last, and how often it did for it; see black-hole.ts. */
  get stallUna(): Seq {
    return this.#view.getUint32(this.at + TcbField.STALL_UNA, true) as Seq;
  }
  set stallUna(value: Seq) {
    this.#view.setUint32(this.at + TcbField.STALL_UNA, value, true);
  }

  get stallTimeouts(): number {
    return this.#view.getUint8(this.at + TcbField.STALL_TIMEOUTS);
  }
  set stallTimeouts(value: number) {
    this.#view.setUint8(this.at + TcbField.STALL_TIMEOUTS, value);
  }

  /** Probes of the path that were lost. */
  get mtuProbes(): number {
    return this.#view.getUint8(this.at + TcbField.MTU_PROBES);
  }
  set mtuProbes(value: number) {
    this.#view.setUint8(this.at + TcbField.MTU_PROBES, value);
  }

  /** `mss` before a black hole was suspected; 0 when none is. */
  get fullMss(): number {
    return this.#view.getUint16(this.at + TcbField.FULL_MSS, true);
  }
  set fullMss(value: number) {
    this.#view.setUint16(this.at + TcbField.FULL_MSS, value, true);
  }

  /** Sequence number behind the probe; valid with MTU_PROBING. */
  get mtuProbeEnd(): Seq {
    return this.#view.getUint32(this.at + TcbField.MTU_PROBE_END, true) as Seq;
  }
  set mtuProbeEnd(value: Seq) {
    this.#view.setUint32(this.at + TcbField.MTU_PROBE_END, value, true);
  }

  /**
   * Since when the oldest sequence number in flight waits to be acknowledged, or stands first, on
   * `timestampClock`; valid with something in flight.
   */
  get unackedSinceMs(): number {
    return this.#view.getUint32(this.at + TcbField.UNACKED_SINCE_MS, true);
  }
  set unackedSinceMs(value: number) {
    this.#view.setUint32(this.at + TcbField.UNACKED_SINCE_MS, value, true);
  }

  /** MSS option of the SYN, or its default. */
  get synMss(): number {
    return this.#view.getUint32(this.at + TcbField.SYN_MSS, true);
  }
  set synMss(value: number) {
    this.#view.setUint32(this.at + TcbField.SYN_MSS, value, true);
  }

  /** Payload bytes of a full-sized segment of the peer, estimated. */
  get rcvMss(): number {
    return this.#view.getUint32(this.at + TcbField.RCV_MSS, true);
  }
  set rcvMss(value: number) {
    this.#view.setUint32(this.at + TcbField.RCV_MSS, value, true);
  }

  /** MAX.SND.WND: largest window the peer ever offered. */
  get maxSndWnd(): number {
    return this.#view.getUint32(this.at + TcbField.MAX_SND_WND, true);
  }
  set maxSndWnd(value: number) {
    this.#view.setUint32(this.at + TcbField.MAX_SND_WND, value, true);
  }

  /** Bits of TcbFlag. */
  get flags(): number {
    return this.#view.getUint32(this.at + TcbField.FLAGS, true);
  }
  set flags(value: number) {
    this.#view.setUint32(this.at + TcbField.FLAGS, value, true);
  }

  /** Snd.Wind.Shift of RFC 7323 §2.3. */
  get sndScale(): number {
    return this.#view.getUint32(this.at + TcbField.SND_SCALE, true);
  }
  set sndScale(value: number) {
    this.#view.setUint32(this.at + TcbField.SND_SCALE, value, true);
  }

  /** Rcv.Wind.Shift. */
  get rcvScale(): number {
    return this.#view.getUint32(this.at + TcbField.RCV_SCALE, true);
  }
  set rcvScale(value: number) {
    this.#view.setUint32(this.at + TcbField.RCV_SCALE, value, true);
  }

  /** TS.Recent of RFC 7323 §4.3. */
  get tsRecent(): number {
    return this.#view.getUint32(this.at + TcbField.TS_RECENT, true);
  }
  set tsRecent(value: number) {
    this.#view.setUint32(this.at + TcbField.TS_RECENT, value, true);
  }

  /** Added to our timestamp clock, so that it tells nobody our uptime. */
  get tsOffset(): number {
    return this.#view.getUint32(this.at + TcbField.TS_OFFSET, true);
  }
  set tsOffset(value: number) {
    this.#view.setUint32(this.at + TcbField.TS_OFFSET, value, true);
  }

  /** Congestion window in bytes. */
  get cwnd(): number {
    return this.#view.getUint32(this.at + TcbField.CWND, true);
  }
  set cwnd(value: number) {
    this.#view.setUint32(this.at + TcbField.CWND, value, true);
  }

  /** Slow start threshold in bytes. */
  get ssthresh(): number {
    return this.#view.getUint32(this.at + TcbField.SSTHRESH, true);
  }
  set ssthresh(value: number) {
    this.#view.setUint32(this.at + TcbField.SSTHRESH, value, true);
  }

  /** Bytes acknowledged towards the next increase in congestion avoidance. */
  get cwndCredit(): number {
    return this.#view.getUint32(this.at + TcbField.CWND_CREDIT, true);
  }
  set cwndCredit(value: number) {
    this.#view.setUint32(this.at + TcbField.CWND_CREDIT, value, true);
  }

  /** Recovery ends when this is acknowledged (RFC 6582 §3.2). */
  get recover(): Seq {
    return this.#view.getUint32(this.at + TcbField.RECOVER, true) as Seq;
  }
  set recover(value: Seq) {
    this.#view.setUint32(this.at + TcbField.RECOVER, value, true);
  }

  /** Next sequence number to send again while recovery lasts. */
  get rtxNxt(): Seq {
    return this.#view.getUint32(this.at + TcbField.RTX_NXT, true) as Seq;
  }
  set rtxNxt(value: Seq) {
    this.#view.setUint32(this.at + TcbField.RTX_NXT, value, true);
  }

  /** Duplicate acknowledgments in a row. */
  get dupAcks(): number {
    return this.#view.getUint32(this.at + TcbField.DUP_ACKS, true);
  }
  set dupAcks(value: number) {
    this.#view.setUint32(this.at + TcbField.DUP_ACKS, value, true);
  }

  /** SRTT in microseconds; 0 before the first measurement. */
  get srttUs(): number {
    return this.#view.getUint32(this.at + TcbField.SRTT_US, true);
  }
  set srttUs(value: number) {
    this.#view.setUint32(this.at + TcbField.SRTT_US, value, true);
  }

  /** RTTVAR in microseconds. */
  get rttvarUs(): number {
    return this.#view.getUint32(this.at + TcbField.RTTVAR_US, true);
  }
  set rttvarUs(value: number) {
    this.#view.setUint32(this.at + TcbField.RTTVAR_US, value, true);
  }

  /** RTO in microseconds, before backoff. */
  get rtoUs(): number {
    return this.#view.getUint32(this.at + TcbField.RTO_US, true);
  }
  set rtoUs(value: number) {
    this.#view.setUint32(this.at + TcbField.RTO_US, value, true);
  }

  /** Timeouts since the last measurement: the RTO is shifted left by it. */
  get backoff(): number {
    return this.#view.getUint32(this.at + TcbField.BACKOFF, true);
  }
  set backoff(value: number) {
    this.#view.setUint32(this.at + TcbField.BACKOFF, value, true);
  }

  /** The round trip being measured ends when this is acknowledged. */
  get rttSeq(): Seq {
    return this.#view.getUint32(this.at + TcbField.RTT_SEQ, true) as Seq;
  }
  set rttSeq(value: Seq) {
    this.#view.setUint32(this.at + TcbField.RTT_SEQ, value, true);
  }

  /** Payload bytes that arrived since the last acknowledgment sent. */
  get unackedBytes(): number {
    return this.#view.getUint32(this.at + TcbField.UNACKED_BYTES, true);
  }
  set unackedBytes(value: number) {
    this.#view.setUint32(this.at + TcbField.UNACKED_BYTES, value, true);
  }

  /** Timeouts, keep-alives or window probes without an answer. */
  get probes(): number {
    return this.#view.getUint32(this.at + TcbField.PROBES, true);
  }
  set probes(value: number) {
    this.#view.setUint32(this.at + TcbField.PROBES, value, true);
  }

  /** Send queue: sent and not yet acknowledged, in order. */
  get sendHead(): number {
    return this.#view.getInt32(this.at + TcbField.SEND_HEAD, true);
  }
  set sendHead(value: number) {
    this.#view.setInt32(this.at + TcbField.SEND_HEAD, value, true);
  }

  get sendTail(): number {
    return this.#view.getInt32(this.at + TcbField.SEND_TAIL, true);
  }
  set sendTail(value: number) {
    this.#view.setInt32(this.at + TcbField.SEND_TAIL, value, true);
  }

  /** Budget that the send queue takes. */
  get sendSlabBytes(): number {
    return this.#view.getUint32(this.at + TcbField.SEND_SLAB_BYTES, true);
  }
  set sendSlabBytes(value: number) {
    this.#view.setUint32(this.at + TcbField.SEND_SLAB_BYTES, value, true);
  }

  /** Backlog: received and acknowledged, not yet taken by the upstream. */
  get backlogHead(): number {
    return this.#view.getInt32(this.at + TcbField.BACKLOG_HEAD, true);
  }
  set backlogHead(value: number) {
    this.#view.setInt32(this.at + TcbField.BACKLOG_HEAD, value, true);
  }

  get backlogTail(): number {
    return this.#view.getInt32(this.at + TcbField.BACKLOG_TAIL, true);
  }
  set backlogTail(value: number) {
    this.#view.setInt32(this.at + TcbField.BACKLOG_TAIL, value, true);
  }

  /** Payload bytes of the backlog. */
  get backlogBytes(): number {
    return this.#view.getUint32(this.at + TcbField.BACKLOG_BYTES, true);
  }
  set backlogBytes(value: number) {
    this.#view.setUint32(this.at + TcbField.BACKLOG_BYTES, value, true);
  }

  /** Segments that arrived out of order, by sequence number. */
  get assemblyHead(): number {
    return this.#view.getInt32(this.at + TcbField.ASSEMBLY_HEAD, true);
  }
  set assemblyHead(value: number) {
    this.#view.setInt32(this.at + TcbField.ASSEMBLY_HEAD, value, true);
  }

  get assemblyTail(): number {
    return this.#view.getInt32(this.at + TcbField.ASSEMBLY_TAIL, true);
  }
  set assemblyTail(value: number) {
    this.#view.setInt32(this.at + TcbField.ASSEMBLY_TAIL, value, true);
  }

  /** Payload bytes of the out-of-order segments. */
  get assemblyBytes(): number {
    return this.#view.getUint32(this.at + TcbField.ASSEMBLY_BYTES, true);
  }
  set assemblyBytes(value: number) {
    this.#view.setUint32(this.at + TcbField.ASSEMBLY_BYTES, value, true);
  }

  get assemblyCount(): number {
    return this.#view.getUint32(this.at + TcbField.ASSEMBLY_COUNT, true);
  }
  set assemblyCount(value: number) {
    this.#view.setUint32(this.at + TcbField.ASSEMBLY_COUNT, value, true);
  }

  /** Next row of the list of those that owe an acknowledgment. */
  get ackNext(): number {
    return this.#view.getInt32(this.at + TcbField.ACK_NEXT, true);
  }
  set ackNext(value: number) {
    this.#view.setInt32(this.at + TcbField.ACK_NEXT, value, true);
  }

  /** Neighbours in the list of connections in TIME-WAIT, oldest first. */
  get waitNext(): number {
    return this.#view.getInt32(this.at + TcbField.WAIT_NEXT, true);
  }
  set waitNext(value: number) {
    this.#view.setInt32(this.at + TcbField.WAIT_NEXT, value, true);
  }

  get waitPrevious(): number {
    return this.#view.getInt32(this.at + TcbField.WAIT_PREVIOUS, true);
  }
  set waitPrevious(value: number) {
    this.#view.setInt32(this.at + TcbField.WAIT_PREVIOUS, value, true);
  }

  /** Bucket of the per-source count that a held SYN occupies. */
  get sourceBucket(): number {
    return this.#view.getUint32(this.at + TcbField.SOURCE_BUCKET, true);
  }
  set sourceBucket(value: number) {
    this.#view.setUint32(this.at + TcbField.SOURCE_BUCKET, value, true);
  }

  /** When the last challenge ACK was sent, by the timestamp clock; 0 before the first. */
  get challengedAtMs(): number {
    return this.#view.getUint32(this.at + TcbField.CHALLENGED_AT_MS, true);
  }
  set challengedAtMs(value: number) {
    this.#view.setUint32(this.at + TcbField.CHALLENGED_AT_MS, value, true);
  }

  /** What we send is ECN-capable. */
  get sendsEct(): boolean {
    const both = TcbFlag.ECN | TcbFlag.ECN_SETUP;
    return (this.flags & both) === both;
  }

  /** SND.NXT when the window was last cut: it is cut again once more than that is acknowledged. */
  get cutEnd(): Seq {
    return this.#view.getUint32(this.at + TcbField.CUT_END, true) as Seq;
  }
  set cutEnd(value: Seq) {
    this.#view.setUint32(this.at + TcbField.CUT_END, value, true);
  }

  /** How often the SYN-ACK was sent. */
  get synAcks(): number {
    return this.#view.getUint32(this.at + TcbField.SYN_ACKS, true);
  }
  set synAcks(value: number) {
    this.#view.setUint32(this.at + TcbField.SYN_ACKS, value, true);
  }

  /** Not 0: new data waits for a timeout, as ECE came and the window can be cut no further. */
  get ecnPause(): number {
    return this.#view.getUint32(this.at + TcbField.ECN_PAUSE, true);
  }
  set ecnPause(value: number) {
    this.#view.setUint32(this.at + TcbField.ECN_PAUSE, value, true);
  }

  /** Blocks of early bytes that are reported, RFC 2018 §4; the blocks are `rcvSackLeft(i)`. */
  get rcvSackCount(): number {
    return this.#view.getUint32(this.at + TcbField.RCV_SACK_COUNT, true);
  }
  set rcvSackCount(value: number) {
    this.#view.setUint32(this.at + TcbField.RCV_SACK_COUNT, value, true);
  }

  /** What arrived twice, RFC 2883; valid with DSACK_OWED. */
  get dsackLeft(): Seq {
    return this.#view.getUint32(this.at + TcbField.DSACK_LEFT, true) as Seq;
  }
  set dsackLeft(value: Seq) {
    this.#view.setUint32(this.at + TcbField.DSACK_LEFT, value, true);
  }

  get dsackRight(): Seq {
    return this.#view.getUint32(this.at + TcbField.DSACK_RIGHT, true) as Seq;
  }
  set dsackRight(value: Seq) {
    this.#view.setUint32(this.at + TcbField.DSACK_RIGHT, value, true);
  }

  /** Left edge of block `index`, newest first; the right edge is behind the last byte. */
  rcvSackLeft(index: number): Seq {
    return this.#view.getUint32(this.at + TcbField.RCV_SACKS + index * 8, true) as Seq;
  }

  rcvSackRight(index: number): Seq {
    return this.#view.getUint32(this.at + TcbField.RCV_SACKS + index * 8 + 4, true) as Seq;
  }

  setRcvSack(index: number, left: Seq, right: Seq): void {
    this.#view.setUint32(this.at + TcbField.RCV_SACKS + index * 8, left, true);
    this.#view.setUint32(this.at + TcbField.RCV_SACKS + index * 8 + 4, right, true);
  }

  /** RACK.xmit_ts, RFC 8985 §5.2: when the last sent of the delivered segments was sent. */
  get rackSentAt(): Instant {
    return this.#view.getFloat64(this.at + TcbField.RACK_SENT_AT, true) as Instant;
  }
  set rackSentAt(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.RACK_SENT_AT, value, true);
  }

  /** When minRttUs was measured. */
  get minRttAt(): Instant {
    return this.#view.getFloat64(this.at + TcbField.MIN_RTT_AT, true) as Instant;
  }
  set minRttAt(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.MIN_RTT_AT, value, true);
  }

  /** When the retransmission timeout is due; rtxDeadline may come before it. */
  get rtoAt(): Instant {
    return this.#view.getFloat64(this.at + TcbField.RTO_AT, true) as Instant;
  }
  set rtoAt(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.RTO_AT, value, true);
  }

  /** Bytes in flight that the peer holds above SND.UNA; see scoreboard.ts. */
  get sackedBytes(): number {
    return this.#view.getUint32(this.at + TcbField.SACKED_BYTES, true);
  }
  set sackedBytes(value: number) {
    this.#view.setUint32(this.at + TcbField.SACKED_BYTES, value, true);
  }

  /** Bytes that count as lost and were not sent again since. */
  get lostBytes(): number {
    return this.#view.getUint32(this.at + TcbField.LOST_BYTES, true);
  }
  set lostBytes(value: number) {
    this.#view.setUint32(this.at + TcbField.LOST_BYTES, value, true);
  }

  /** RACK.end_seq: sequence number behind that segment. */
  get rackEnd(): Seq {
    return this.#view.getUint32(this.at + TcbField.RACK_END, true) as Seq;
  }
  set rackEnd(value: Seq) {
    this.#view.setUint32(this.at + TcbField.RACK_END, value, true);
  }

  /** RACK.rtt: what that segment took. */
  get rackRttUs(): number {
    return this.#view.getUint32(this.at + TcbField.RACK_RTT_US, true);
  }
  set rackRttUs(value: number) {
    this.#view.setUint32(this.at + TcbField.RACK_RTT_US, value, true);
  }

  /** RACK.fack: behind the highest byte delivered. */
  get rackFack(): Seq {
    return this.#view.getUint32(this.at + TcbField.RACK_FACK, true) as Seq;
  }
  set rackFack(value: Seq) {
    this.#view.setUint32(this.at + TcbField.RACK_FACK, value, true);
  }

  /** RACK.reo_wnd_mult: quarters of the least round trip to wait for what is late. */
  get reorderSteps(): number {
    return this.#view.getUint32(this.at + TcbField.REORDER_STEPS, true);
  }
  set reorderSteps(value: number) {
    this.#view.setUint32(this.at + TcbField.REORDER_STEPS, value, true);
  }

  /** RACK.reo_wnd_persist: recoveries after which the window shrinks again. */
  get reorderPersist(): number {
    return this.#view.getUint32(this.at + TcbField.REORDER_PERSIST, true);
  }
  set reorderPersist(value: number) {
    this.#view.setUint32(this.at + TcbField.REORDER_PERSIST, value, true);
  }

  /** RACK.dsack_round: duplicates below it are old news; valid with DSACK_SEEN. */
  get dsackRound(): Seq {
    return this.#view.getUint32(this.at + TcbField.DSACK_ROUND, true) as Seq;
  }
  set dsackRound(value: Seq) {
    this.#view.setUint32(this.at + TcbField.DSACK_ROUND, value, true);
  }

  /** Least round trip of the last minutes; 0 when none was measured. */
  get minRttUs(): number {
    return this.#view.getUint32(this.at + TcbField.MIN_RTT_US, true);
  }
  set minRttUs(value: number) {
    this.#view.setUint32(this.at + TcbField.MIN_RTT_US, value, true);
  }

  /** What rtxDeadline is for: a TimerKind. */
  get timerKind(): number {
    return this.#view.getUint32(this.at + TcbField.TIMER_KIND, true);
  }
  set timerKind(value: number) {
    this.#view.setUint32(this.at + TcbField.TIMER_KIND, value, true);
  }

  /** TLP.end_seq of RFC 8985 §7.1; valid with PROBING. */
  get probeEnd(): Seq {
    return this.#view.getUint32(this.at + TcbField.PROBE_END, true) as Seq;
  }
  set probeEnd(value: Seq) {
    this.#view.setUint32(this.at + TcbField.PROBE_END, value, true);
  }

  /** RFC 6937 §3: bytes that arrived since the recovery began, and that were sent. */
  get prrDelivered(): number {
    return this.#view.getUint32(this.at + TcbField.PRR_DELIVERED, true);
  }
  set prrDelivered(value: number) {
    this.#view.setUint32(this.at + TcbField.PRR_DELIVERED, value, true);
  }

  get prrOut(): number {
    return this.#view.getUint32(this.at + TcbField.PRR_OUT, true);
  }
  set prrOut(value: number) {
    this.#view.setUint32(this.at + TcbField.PRR_OUT, value, true);
  }

  /** RecoverFS: bytes in flight when it began. */
  get recoverFlight(): number {
    return this.#view.getUint32(this.at + TcbField.RECOVER_FLIGHT, true);
  }
  set recoverFlight(value: number) {
    this.#view.setUint32(this.at + TcbField.RECOVER_FLIGHT, value, true);
  }

  /** SND.UNA when the window was cut; duplicates above it may undo the cut. */
  get undoMark(): Seq {
    return this.#view.getUint32(this.at + TcbField.UNDO_MARK, true) as Seq;
  }
  set undoMark(value: Seq) {
    this.#view.setUint32(this.at + TcbField.UNDO_MARK, value, true);
  }

  /** Bytes that were sent again since, less those that arrived twice. */
  get undoBytes(): number {
    return this.#view.getUint32(this.at + TcbField.UNDO_BYTES, true);
  }
  set undoBytes(value: number) {
    this.#view.setUint32(this.at + TcbField.UNDO_BYTES, value, true);
  }

  /** What the window was before the cut, and the threshold. */
  get priorCwnd(): number {
    return this.#view.getUint32(this.at + TcbField.PRIOR_CWND, true);
  }
  set priorCwnd(value: number) {
    this.#view.setUint32(this.at + TcbField.PRIOR_CWND, value, true);
  }

  get priorSsthresh(): number {
    return this.#view.getUint32(this.at + TcbField.PRIOR_SSTHRESH, true);
  }
  set priorSsthresh(value: number) {
    this.#view.setUint32(this.at + TcbField.PRIOR_SSTHRESH, value, true);
  }

  /** Timestamp of the first segment that was sent again since the cut. */
  get resentTs(): number {
    return this.#view.getUint32(this.at + TcbField.RESENT_TS, true);
  }
  set resentTs(value: number) {
    this.#view.setUint32(this.at + TcbField.RESENT_TS, value, true);
  }

  /** How the window grows and is cut: a CongestionControl. */
  get congestion(): number {
    return this.#view.getUint32(this.at + TcbField.CONGESTION, true);
  }
  set congestion(value: number) {
    this.#view.setUint32(this.at + TcbField.CONGESTION, value, true);
  }

  /** When new data was sent last. */
  get lastSentAt(): Instant {
    return this.#view.getFloat64(this.at + TcbField.LAST_SENT_AT, true) as Instant;
  }
  set lastSentAt(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.LAST_SENT_AT, value, true);
  }

  /** Start of the epoch of RFC 9438 §4.2; 0 before the first window of it. */
  get cubicEpochAt(): Instant {
    return this.#view.getFloat64(this.at + TcbField.CUBIC_EPOCH_AT, true) as Instant;
  }
  set cubicEpochAt(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.CUBIC_EPOCH_AT, value, true);
  }

  /** W_max of RFC 9438 §4.1.2 in bytes, and what undo would restore. */
  get cubicMax(): number {
    return this.#view.getFloat64(this.at + TcbField.CUBIC_MAX, true);
  }
  set cubicMax(value: number) {
    this.#view.setFloat64(this.at + TcbField.CUBIC_MAX, value, true);
  }

  get cubicMaxBefore(): number {
    return this.#view.getFloat64(this.at + TcbField.CUBIC_MAX_BEFORE, true);
  }
  set cubicMaxBefore(value: number) {
    this.#view.setFloat64(this.at + TcbField.CUBIC_MAX_BEFORE, value, true);
  }

  /** cwnd_prior: the window at the last cut, in bytes. */
  get cubicPrior(): number {
    return this.#view.getFloat64(this.at + TcbField.CUBIC_PRIOR, true);
  }
  set cubicPrior(value: number) {
    this.#view.setFloat64(this.at + TcbField.CUBIC_PRIOR, value, true);
  }

  /** K: seconds from the start of the epoch until W_max. */
  get cubicK(): number {
    return this.#view.getFloat64(this.at + TcbField.CUBIC_K, true);
  }
  set cubicK(value: number) {
    this.#view.setFloat64(this.at + TcbField.CUBIC_K, value, true);
  }

  /** W_est: the window that Reno would have, in bytes. */
  get cubicReno(): number {
    return this.#view.getFloat64(this.at + TcbField.CUBIC_RENO, true);
  }
  set cubicReno(value: number) {
    this.#view.setFloat64(this.at + TcbField.CUBIC_RENO, value, true);
  }

  /** The fraction of a byte that cwnd could not take. */
  get cubicCarry(): number {
    return this.#view.getFloat64(this.at + TcbField.CUBIC_CARRY, true);
  }
  set cubicCarry(value: number) {
    this.#view.setFloat64(this.at + TcbField.CUBIC_CARRY, value, true);
  }

  /** windowEnd of RFC 9406 §4.2: the round ends when this is acknowledged. */
  get hystartEnd(): Seq {
    return this.#view.getUint32(this.at + TcbField.HYSTART_END, true) as Seq;
  }
  set hystartEnd(value: Seq) {
    this.#view.setUint32(this.at + TcbField.HYSTART_END, value, true);
  }

  /** currentRoundMinRTT; 0 when there is no sample. */
  get roundMinUs(): number {
    return this.#view.getUint32(this.at + TcbField.ROUND_MIN_US, true);
  }
  set roundMinUs(value: number) {
    this.#view.setUint32(this.at + TcbField.ROUND_MIN_US, value, true);
  }

  /** lastRoundMinRTT. */
  get lastRoundMinUs(): number {
    return this.#view.getUint32(this.at + TcbField.LAST_ROUND_MIN_US, true);
  }
  set lastRoundMinUs(value: number) {
    this.#view.setUint32(this.at + TcbField.LAST_ROUND_MIN_US, value, true);
  }

  /** rttSampleCount. */
  get roundSamples(): number {
    return this.#view.getUint32(this.at + TcbField.ROUND_SAMPLES, true);
  }
  set roundSamples(value: number) {
    this.#view.setUint32(this.at + TcbField.ROUND_SAMPLES, value, true);
  }

  /** cssBaselineMinRtt; 0 outside of conservative slow start. */
  get cssBaseUs(): number {
    return this.#view.getUint32(this.at + TcbField.CSS_BASE_US, true);
  }
  set cssBaseUs(value: number) {
    this.#view.setUint32(this.at + TcbField.CSS_BASE_US, value, true);
  }

  /** Rounds of it. */
  get cssRounds(): number {
    return this.#view.getUint32(this.at + TcbField.CSS_ROUNDS, true);
  }
  set cssRounds(value: number) {
    this.#view.setUint32(this.at + TcbField.CSS_ROUNDS, value, true);
  }

  /** Bytes that the peer may be promised, by what its path needs; see receive-window.ts. */
  get rcvBuffer(): number {
    return this.#view.getUint32(this.at + TcbField.RCV_BUFFER, true);
  }
  set rcvBuffer(value: number) {
    this.#view.setUint32(this.at + TcbField.RCV_BUFFER, value, true);
  }

  /** Most bytes that the owner took in one round trip. */
  get tuneBest(): number {
    return this.#view.getUint32(this.at + TcbField.TUNE_BEST, true);
  }
  set tuneBest(value: number) {
    this.#view.setUint32(this.at + TcbField.TUNE_BEST, value, true);
  }

  /** When the round trip began that is being measured; 0 before the first. */
  get tuneAt(): Instant {
    return this.#view.getFloat64(this.at + TcbField.TUNE_AT, true) as Instant;
  }
  set tuneAt(value: Instant) {
    this.#view.setFloat64(this.at + TcbField.TUNE_AT, value, true);
  }

  /** Sequence number behind what the owner had taken then. */
  get tuneSeq(): Seq {
    return this.#view.getUint32(this.at + TcbField.TUNE_SEQ, true) as Seq;
  }
  set tuneSeq(value: Seq) {
    this.#view.setUint32(this.at + TcbField.TUNE_SEQ, value, true);
  }

  /** Acknowledgments that are not delayed, because packets were lost lately. */
  get quickAcks(): number {
    return this.#view.getUint32(this.at + TcbField.QUICK_ACKS, true);
  }
  set quickAcks(value: number) {
    this.#view.setUint32(this.at + TcbField.QUICK_ACKS, value, true);
  }
}
