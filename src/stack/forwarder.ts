/**
 * SYNs that wait for a verdict: the contract of gVisor's `tcp.Forwarder`, with bounds per source.
 *
 * A SYN that matches no flow takes a row (phase DECIDING) and is handed to the owner once. Until
 * it is answered, a repeated SYN is absorbed, a reset of the client ends it, and a deadline bounds
 * it. The answer is one of `accept` (tcp/user-calls.ts) and `reject` here.
 *
 * Under pressure (tcp/held-syns.ts) the order turns round: the SYN is answered with a cookie
 * (tcp/syn-cookies.ts) and forgotten. The ACK that brings the cookie back takes the row; the client
 * is in ESTABLISHED already, and what it sends waits in the backlog while the owner, asked only
 * now, decides and dials. A refusal is a reset then.
 */
import { CloseReason } from './close-reason.ts';
import { Counter } from './counters.ts';
import { DropReason } from './drop-reason.ts';
import { ClosedBy, FlowField, FlowPhase, Handshake, noteHandshake } from './flow-row.ts';
import { NO_FLOW } from './flow-table.ts';
import type { IcmpErrorKind } from './icmp-error-kind.ts';
import type { IcmpSender } from './icmp-sender.ts';
import { insertFlow, type Packet } from './packet.ts';
import { RateLimit } from './rate-limit.ts';
import type { HalfSipHash } from './sip-hash.ts';
import { countFlows, endFlow, makeRoom, type Reclaimer } from './tcp/close.ts';
import type { TcpContext } from './tcp/context.ts';
import { canHaveEcn, isEcnSetup, noteRepeatedSyn } from './tcp/ecn.ts';
import { initialSequence } from './tcp/initial-sequence.ts';
import { sendRefusal, sendReset, sendSynAck } from './tcp/output.ts';
import { DEFAULT_MSS, readSyn } from './tcp/peer-syn.ts';
import { startRtt } from './tcp/rtt.ts';
import { timestampClock } from './tcp/segment.ts';
import { segmentArrives } from './tcp/segment-arrives.ts';
import { TcpState } from './tcp/states.ts';
import { CookieMatch, type SynCookies } from './tcp/syn-cookies.ts';
import type { Instant } from './time.ts';
import type { EndingReject } from './verdict.ts';
import { asSeq, type Seq, seqAdd, seqLt } from './wire/seq.ts';
import { TCP_HEADER_BYTES, TcpFlag } from './wire/tcp.ts';

/**
 * Resets for segments that belong to no flow: with spoofed sources they hit others. The burst lets
 * the clients of a gateway that was started again know at once.
 */
const RESETS_PER_SECOND = 1000;
const RESETS_BURST = 1000;
/** RFC 7323 §2.2: the window of a SYN-ACK is not scaled. A cookie promises the most there is. */
const COOKIE_WINDOW_BYTES = 0xffff;

export class Forwarder {
  readonly #tcp: TcpContext;
  readonly #tracked: Reclaimer;
  readonly #icmp: IcmpSender;
  /** Keyed apart from the flow table: initial sequence numbers must not leak its hash. */
  readonly #isnHash: HalfSipHash;
  readonly #cookies: SynCookies;
  readonly #resets = new RateLimit(RESETS_PER_SECOND, RESETS_BURST);
  #isDraining = false;

  constructor(
    tcp: TcpContext,
    tracked: Reclaimer,
    icmp: IcmpSender,
    isnHash: HalfSipHash,
    cookies: SynCookies,
  ) {
    this.#tcp = tcp;
    this.#tracked = tracked;
    this.#icmp = icmp;
    this.#isnHash = isnHash;
    this.#cookies = cookies;
  }

  /** No new flows from now on: they are refused with RST. */
  drain(): void {
    this.#isDraining = true;
  }

  /** A segment arrived that belongs to no flow; `tcp.segment` holds it. */
  onUnknown(packet: Packet, now: Instant): DropReason {
    const segment = this.#tcp.segment;
    // RFC 9293 §3.10.7.2: first RST, second ACK, third SYN.
    if (segment.has(TcpFlag.RST)) return DropReason.NO_FLOW;
    const kind = segment.flags & (TcpFlag.SYN | TcpFlag.ACK);
    if (kind === TcpFlag.SYN) return this.#onSyn(packet, now);
    if (kind === TcpFlag.ACK && this.#cookies.isAwaited(now)) return this.#onAck(packet, now);
    return this.#resetUnknown(packet, DropReason.NO_FLOW, now);
  }

  /**
   * A SYN arrived between the ends of a connection that was in TIME-WAIT, and is no old duplicate.
   *
   * @param sndNxt  of that connection: our numbers begin behind it (RFC 9293 §3.6.1), as the clock
   *                that they come from is slower than a fast path. A cookie leaves no choice
   */
  onReopen(packet: Packet, sndNxt: Seq, now: Instant): DropReason {
    return this.#onSyn(packet, now, sndNxt);
  }

  /** A segment arrived for a SYN that is held. */
  onHeld(now: Instant): DropReason {
    const { tcb, segment, counters } = this.#tcp;
    if (segment.has(TcpFlag.RST)) {
      // Only the client knows its sequence number, or that there is nothing yet to acknowledge.
      if (segment.seq !== seqAdd(tcb.irs, 1) && segment.seq !== tcb.irs) {
        return DropReason.OUT_OF_WINDOW;
      }
      counters.add(Counter.TCP_RESETS_RECEIVED);
      counters.add(Counter.IN_TCP);
      endFlow(this.#tcp, CloseReason.CLIENT_GONE, ClosedBy.CLIENT, now);
      return DropReason.NONE;
    }
    if (segment.has(TcpFlag.SYN) && !segment.has(TcpFlag.ACK)) {
      if (segment.seq !== tcb.irs) this.#readSyn();
      else noteRepeatedSyn(this.#tcp);
      return DropReason.HELD_SYN_REPEATED;
    }
    return DropReason.NO_FLOW;
  }

  /**
   * Refuses the held SYN in `row`, visibly or silently, and frees it.
   *
   * @param kind  what an ICMP error says
   */
  reject(
    row: number,
    how: EndingReject,
    kind: IcmpErrorKind,
    reason: CloseReason,
    by: ClosedBy,
    now: Instant,
  ): void {
    const tcp = this.#tcp;
    const tcb = tcp.tcb.moveTo(row);
    // Behind a cookie the client is in ESTABLISHED, where only a reset tells it anything.
    if (tcb.state !== TcpState.LISTEN) sendReset(tcp, now);
    else if (how === 'rst') sendRefusal(tcp);
    else if (how === 'icmp') this.#icmp.aboutSyn(tcb.flowAt, tcb.irs, TCP_HEADER_BYTES, kind);
    if (how === 'drop') tcp.parked.drop(row, DropReason.VERDICT_DROP);
    else tcp.parked.settle(row, Counter.IN_ANSWERED);
    endFlow(tcp, reason, by, now);
  }

  /** A SYN that opens something new. @param leastIss  where the ISS may not lie before it */
  #onSyn(packet: Packet, now: Instant, leastIss?: Seq): DropReason {
    const { heldSyns, quota, segment, counters } = this.#tcp;
    if (this.#isDraining) return this.#resetUnknown(packet, DropReason.DRAINING, now);
    const crowded = quota.check(packet.sourceAt, packet.addressLength);
    if (crowded !== DropReason.NONE) return crowded;
    if (heldSyns.isPressed) {
      this.#answerWithCookie(packet, now);
      counters.add(Counter.IN_ANSWERED);
      return DropReason.NONE;
    }
    const bucket = heldSyns.bucketOf(packet.sourceAt, packet.addressLength);
    const limited = heldSyns.check(bucket);
    if (limited !== DropReason.NONE) return limited;
    const row = this.#insert(packet, now);
    if (row === NO_FLOW) return DropReason.FLOW_TABLE_FULL;
    this.#begin(row, packet, now);
    const { tcb } = this.#tcp;
    heldSyns.take(tcb, bucket);
    const hash = this.#isnHash;
    hash.start();
    hash.word(packet.hash);
    hash.word(segment.sourcePort);
    hash.word(now % 0x100000000);
    tcb.tsOffset = hash.finish();
    tcb.iss = initialSequence(
      hash,
      this.#tcp.arena.view,
      packet.sourceAt,
      packet.destinationAt,
      packet.addressLength,
      (segment.sourcePort << 16) | segment.destinationPort,
      now,
    );
    if (leastIss !== undefined && seqLt(tcb.iss, leastIss)) tcb.iss = leastIss;
    tcb.sndUna = tcb.sndNxt = tcb.recover = tcb.rtxNxt = tcb.iss;
    tcb.count(FlowField.PACKETS_UP, 1);
    this.#readSyn();
    // Should the verdict be to rewrite it; without, the client's next SYN will do.
    const kept = this.#tcp.parked.add(row, packet);
    if (kept !== DropReason.NONE) counters.add(Counter.IN_TCP);
    this.#tcp.owner.onFlow(row, now);
    return DropReason.NONE;
  }

  /** An ACK that may answer a SYN-ACK with a cookie. */
  #onAck(packet: Packet, now: Instant): DropReason {
    const { segment, counters } = this.#tcp;
    const match = this.#cookies.check(packet, segment, now);
    if (match === CookieMatch.LATER) return DropReason.BEFORE_COOKIE;
    if (match === CookieMatch.NONE) {
      counters.add(Counter.SYN_COOKIES_FAILED);
      return this.#resetUnknown(packet, DropReason.NO_FLOW, now);
    }
    counters.add(Counter.SYN_COOKIES_RECEIVED);
    // Below, the client believes in a connection: it must learn that there is none.
    if (this.#isDraining) return this.#resetUnknown(packet, DropReason.DRAINING, now);
    const crowded = this.#tcp.quota.check(packet.sourceAt, packet.addressLength);
    if (crowded !== DropReason.NONE) return this.#resetUnknown(packet, crowded, now);
    const row = this.#insert(packet, now);
    if (row === NO_FLOW) return this.#resetUnknown(packet, DropReason.FLOW_TABLE_FULL, now);
    this.#begin(row, packet, now);
    this.#enterSynReceived();
    const { tcb, owner } = this.#tcp;
    owner.onFlow(row, now);
    if (tcb.isGone) counters.add(Counter.IN_ANSWERED);
    else segmentArrives(this.#tcp, now);
    return DropReason.NONE;
  }

  /** What the flow would be had its SYN been held and answered. */
  #enterSynReceived(): void {
    const { tcb, segment } = this.#tcp;
    tcb.transition(TcpState.SYN_RECEIVED);
    noteHandshake(this.#tcp.arena.view, tcb.flowAt, Handshake.COOKIE);
    tcb.tsOffset = this.#cookies.tsOffset;
    tcb.iss = seqAdd(segment.ack, -1);
    tcb.sndUna = tcb.recover = tcb.rtxNxt = tcb.iss;
    tcb.sndNxt = segment.ack;
    const { hasEcn } = this.#cookies;
    readSyn(this.#tcp, seqAdd(segment.seq, -1), hasEcn, hasEcn);
    tcb.rcvEdge = seqAdd(tcb.rcvNxt, COOKIE_WINDOW_BYTES);
    tcb.lastAckSent = tcb.rcvNxt;
    startRtt(this.#tcp);
  }

  /** Of a SYN that is held; scripts are told what it asks for, whatever the settings allow. */
  #readSyn(): void {
    const { segment } = this.#tcp;
    readSyn(this.#tcp, segment.seq, isEcnSetup(segment), canHaveEcn(this.#tcp));
  }

  /** Makes the row that of a flow in LISTEN. */
  #begin(row: number, packet: Packet, now: Instant): void {
    const tcp = this.#tcp;
    const tcb = tcp.tcb.moveTo(row);
    tcb.clear();
    tcb.phase = FlowPhase.DECIDING;
    tcb.transition(TcpState.LISTEN);
    tcb.lastReceivedAt = now;
    tcp.arena.view.setUint8(tcb.flowAt + FlowField.SYN_HOP_LIMIT, packet.hopLimit);
    tcp.quota.take(tcb);
    tcp.counters.add(Counter.FLOWS_TOTAL);
    countFlows(tcp);
  }

  /** Sends the SYN-ACK that a flow would send, from the scratch row, with a cookie for its ISS. */
  #answerWithCookie(packet: Packet, now: Instant): void {
    const tcp = this.#tcp;
    const { tcb, segment, flows } = tcp;
    const cookies = this.#cookies;
    const { mss } = segment.options;
    const peerMss = mss === 0 ? DEFAULT_MSS[packet.addressLength === 4 ? 4 : 6] : mss;
    cookies.make(packet, segment, peerMss, canHaveEcn(tcp), now);
    flows.writeTuple(
      flows.scratchRow,
      packet.sourceAt,
      packet.destinationAt,
      packet.addressLength,
      segment.sourcePort,
      segment.destinationPort,
    );
    tcb.moveTo(flows.scratchRow);
    tcb.clear();
    tcb.iss = cookies.iss;
    tcb.tsOffset = (cookies.tsValue - timestampClock(now)) >>> 0;
    readSyn(this.#tcp, segment.seq, cookies.hasEcn, cookies.hasEcn);
    tcp.counters.add(Counter.SYN_COOKIES_SENT);
    sendSynAck(tcp, now);
  }

  /** A row for the SYN; what has least to lose gives way when the table is full. */
  #insert(packet: Packet, now: Instant): number {
    const tcp = this.#tcp;
    makeRoom(tcp, this.#tracked, now);
    return insertFlow(tcp.flows, packet, now);
  }

  /**
   * RFC 9293 §3.10.7.1: a reset that the sender of the segment accepts.
   *
   * @returns `reason`, or that there was none, as too many had to be sent
   */
  #resetUnknown(packet: Packet, reason: DropReason, now: Instant): DropReason {
    const { segment, egress, counters } = this.#tcp;
    if (!this.#resets.take(now)) return DropReason.RESET_RATE_LIMIT;
    const hasAck = segment.has(TcpFlag.ACK);
    counters.add(Counter.TCP_RESETS_SENT);
    egress.bareTcp(
      packet.destinationAt,
      packet.sourceAt,
      packet.addressLength,
      segment.destinationPort,
      segment.sourcePort,
      hasAck ? segment.ack : asSeq(0),
      hasAck ? asSeq(0) : segment.end,
      hasAck ? TcpFlag.RST : TcpFlag.RST | TcpFlag.ACK,
    );
    return reason;
  }
}
