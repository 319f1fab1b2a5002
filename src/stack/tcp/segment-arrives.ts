/**
 * SEGMENT ARRIVES, RFC 9293 §3.10.7, heading for heading. Read it with the RFC beside it.
 *
 * What the RFC calls LISTEN is a SYN that is held here: it waits for a verdict and for the dial,
 * and is answered once with SYN-ACK, RST or ICMP (forwarder.ts). SYN-SENT has a file of its own,
 * syn-sent.ts.
 */

import { CloseReason } from '../close-reason.ts';
import { Counter } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import { ClosedBy, FlowField, FlowPhase } from '../flow-row.ts';
import { after, type Instant, micros, NEVER, seconds } from '../time.ts';
import { asSeq, seqAdd, seqDiff, seqGe, seqGt, seqLe } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { processAck } from './acknowledgment.ts';
import {
  acknowledgeQuickly,
  answerAtOnce,
  oweAckNow,
  oweAnswer,
  sendChallengeAck,
} from './answers.ts';
import { startBbr } from './bbr.ts';
import { endFlow, freeFlow, settle, TIME_WAIT_US } from './close.ts';
import { CongestionControl, congestionOf, startCongestion } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { isDialing } from './dialing.ts';
import { noteMark, noteRepeatedSyn } from './ecn.ts';
import { startEcho } from './ecn-echo.ts';
import { startAfterLosses } from './lost-handshake.ts';
import { sendSynAck } from './output.ts';
import { startPathMtu } from './path-mtu.ts';
import { startRack } from './rack.ts';
import { acceptText, announceFin, takeFin } from './receive.ts';
import { stopTiming } from './rtt.ts';
import { noteOldText } from './sack-blocks.ts';
import { TcpState } from './states.ts';
import { TcbFlag } from './tcb.ts';
import { idleDeadline } from './timers.ts';
import { openFlow } from './user-calls.ts';

/** RFC 7323 §5.5: a TS.Recent older than 24 days says nothing. */
const TS_RECENT_LIFE_US = seconds(24 * 24 * 3600);

/** What the caller does after the segment of a known flow. */
export const Arrived = {
  DONE: 0,
  /** The old connection is gone, and the segment opens a new one: RFC 9293 §3.10.7.4, fourth. */
  REOPEN: 1,
} as const;
export type Arrived = (typeof Arrived)[keyof typeof Arrived];

/** The segment of a flow in a state from SYN-RECEIVED on; `tcp.tcb` and `tcp.segment` are set. */
export function segmentArrives(tcp: TcpContext, now: Instant): Arrived {
  const tcb = tcp.tcb;
  // Not before the owner has taken everything of the old connection.
  if (tcb.phase === FlowPhase.TIME_WAIT && canReopen(tcp)) {
    freeFlow(tcp);
    return Arrived.REOPEN;
  }
  tcb.count(FlowField.PACKETS_UP, 1);
  const reason = otherState(tcp, now);
  if (reason === DropReason.NONE) tcp.counters.add(Counter.IN_TCP);
  else tcp.counters.settleArrival(reason);
  return Arrived.DONE;
}

/** §3.10.7.4, the eight checks in the order the RFC gives. */
function otherState(tcp: TcpContext, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  // First: the sequence number.
  const unacceptable = checkSequence(tcp, now);
  if (unacceptable !== DropReason.NONE) return unacceptable;
  tcb.lastReceivedAt = now;
  // Second: RST.
  if (segment.has(TcpFlag.RST)) return onReset(tcp, now);
  // Third, security: IP security compartments are not supported.
  // Fourth: SYN. RFC 5961 §4.2: in a synchronized state it proves nothing.
  if (segment.has(TcpFlag.SYN)) return sendChallengeAck(tcp, now);
  // Fifth: ACK.
  if (!segment.has(TcpFlag.ACK)) return DropReason.NO_ACK;
  const refused = checkAck(tcp, now);
  if (refused !== DropReason.NONE) return refused;
  // The acknowledgment may have ended the connection.
  if (tcb.isGone) return DropReason.NONE;
  return takeTextAndFin(tcp, now);
}

/** The steps from the sixth on. */
export function takeTextAndFin(tcp: TcpContext, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  // Sixth, URG: urgent data is delivered in line, as RFC 6093 §6 advises.
  // Seventh: the segment text.
  let reason: DropReason = DropReason.NONE;
  const hasText = segment.payloadLength > 0;
  if (hasText) reason = takeText(tcp, now);
  if (tcb.isGone) return reason;
  // Eighth: FIN.
  if (segment.has(TcpFlag.FIN)) onFinSegment(tcp, now);
  if (takeFin(tcp)) {
    afterFin(tcp);
    // The half-close timeout is another than the one that the wheel knows.
    tcb.touch(now);
    tcp.wheel.schedule(tcb.row, idleDeadline(tcp));
    announceFin(tcp, now);
  }
  settle(tcp, now);
  if (hasText && !tcb.isGone) answerAtOnce(tcp, now);
  return reason;
}

/** The four cases of table 6, PAWS (RFC 7323 §5.3), and trimming to the window. */
function checkSequence(tcp: TcpContext, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  if (tcb.state === TcpState.SYN_RECEIVED && segment.has(TcpFlag.SYN)) {
    // The client did not see our SYN-ACK and repeats its SYN.
    if (segment.seq === tcb.irs && !segment.has(TcpFlag.ACK | TcpFlag.RST)) {
      noteRepeatedSyn(tcp);
      stopTiming(tcp);
      sendSynAck(tcp, now);
      return DropReason.DUPLICATE;
    }
    // Both sides opened: the peer's SYN comes again, with the ACK of ours (RFC 9293 figure 8).
    if (segment.seq === tcb.irs && tcb.has(TcbFlag.OPENED)) segment.trimFront(1);
  }
  // A SYN is answered whatever its timestamps (RFC 5961 §4.2): its sender may have started anew.
  if (tcb.has(TcbFlag.TIMESTAMPS) && !segment.has(TcpFlag.RST | TcpFlag.SYN)) {
    const stale = checkTimestamps(tcp, now);
    if (stale !== DropReason.NONE) return stale;
  }
  const length = segment.length;
  const window = tcb.rcvWnd;
  const start = seqDiff(segment.seq, tcb.rcvNxt);
  const acceptable =
    length === 0
      ? start === 0 || (start > 0 && start < window)
      : window > 0 && start < window && start + length > 0;
  if (!acceptable) return answerUnacceptable(tcp, start, now);
  // A reset is judged by the number that it carries (RFC 5961 §3.2), not by what is left of it.
  if (segment.has(TcpFlag.RST)) return DropReason.NONE;
  noteTimestamp(tcp, now);
  if (start < 0) {
    noteOldText(tcb, segment.seq, segment.payloadLength);
    segment.trimFront(-start);
  }
  trimToWindow(tcp);
  return DropReason.NONE;
}

/** Cuts off what lies right of the window. */
export function trimToWindow({ tcb, segment }: TcpContext): void {
  const beyond = seqDiff(seqAdd(segment.seq, segment.payloadLength), tcb.rcvEdge);
  if (beyond > 0) segment.trimBack(segment.payloadLength - beyond);
}

/**
 * "If an incoming segment is not acceptable, an acknowledgment should be sent in reply (unless the
 * RST bit is set)". A window probe is such a segment; its ACK field is news all the same.
 */
function answerUnacceptable(tcp: TcpContext, start: number, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  if (segment.has(TcpFlag.RST)) return DropReason.OUT_OF_WINDOW;
  if (segment.has(TcpFlag.ACK) && tcb.state !== TcpState.SYN_RECEIVED && tcb.rcvWnd === 0) {
    const refused = processAck(tcp, now);
    if (refused !== DropReason.NONE) return refused;
    if (tcb.isGone) return DropReason.NONE;
  }
  // An old FIN again means that its acknowledgment was lost: TIME-WAIT starts again.
  if (tcb.state === TcpState.TIME_WAIT && segment.has(TcpFlag.FIN)) restartTimeWait(tcp, now);
  oweAnswer(tcp, now);
  if (start < 0 && segment.payloadLength > 0) {
    noteOldText(tcb, segment.seq, segment.payloadLength);
    acknowledgeQuickly(tcb);
    answerAtOnce(tcp, now);
  }
  return start < 0 ? DropReason.DUPLICATE : DropReason.OUT_OF_WINDOW;
}

/** RFC 7323 §5.3 R1, and §3.2: once negotiated, a segment without timestamps is not ours. */
function checkTimestamps(tcp: TcpContext, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  if (!segment.options.hasTimestamps) return DropReason.PAWS;
  const value = segment.options.tsValue;
  const age = (value - tcb.tsRecent) | 0;
  if (age < 0 && now - tcb.tsRecentAt < TS_RECENT_LIFE_US) {
    oweAnswer(tcp, now);
    return DropReason.PAWS;
  }
  return DropReason.NONE;
}

/** RFC 7323 §5.3 R3: the timestamp of an acceptable segment that is not early will be echoed. */
function noteTimestamp(tcp: TcpContext, now: Instant): void {
  const { tcb, segment } = tcp;
  if (!tcb.has(TcbFlag.TIMESTAMPS) || !segment.options.hasTimestamps) return;
  if (segment.has(TcpFlag.SYN)) return;
  if (!seqLe(segment.seq, tcb.lastAckSent)) return;
  tcb.tsRecent = segment.options.tsValue;
  tcb.tsRecentAt = now;
}

/** Second check, with RFC 5961 §3.2: only the exact next sequence number resets. */
function onReset(tcp: TcpContext, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  if (segment.seq !== tcb.rcvNxt) return sendChallengeAck(tcp, now);
  tcp.counters.add(Counter.TCP_RESETS_RECEIVED);
  // A client that has closed answers a second ACK of its FIN so (RFC 1337 §2). All that it sent is
  // here, and acknowledged: what the owner has not taken yet must not be lost for that.
  if (tcb.state === TcpState.TIME_WAIT && !tcb.has(TcbFlag.FIN_DELIVERED)) return DropReason.NONE;
  // "If this connection was initiated with an active OPEN, then the connection was refused."
  if (isDialing(tcb)) endFlow(tcp, CloseReason.DIAL_REFUSED, ClosedBy.UPSTREAM, now);
  else endFlow(tcp, CloseReason.CLIENT_RESET, ClosedBy.CLIENT, now);
  return DropReason.NONE;
}

/** Fifth check. */
function checkAck(tcp: TcpContext, now: Instant): DropReason {
  const { tcb, segment } = tcp;
  if (tcb.state === TcpState.SYN_RECEIVED) {
    if (!seqGt(segment.ack, tcb.sndUna) || !seqLe(segment.ack, tcb.sndNxt)) {
      sendUnacceptableReset(tcp);
      return DropReason.UNACCEPTABLE_ACK;
    }
    establish(tcp, now);
    if (tcb.isGone) return DropReason.NONE;
  }
  const refused = processAck(tcp, now);
  if (refused !== DropReason.NONE) return refused;
  if (!tcb.has(TcbFlag.FIN_SENT) || tcb.sndUna !== tcb.sndNxt) return DropReason.NONE;
  // Our FIN is acknowledged.
  switch (tcb.state) {
    case TcpState.FIN_WAIT_1:
      tcb.transition(TcpState.FIN_WAIT_2);
      break;
    case TcpState.CLOSING:
      enterTimeWait(tcp);
      break;
    default:
      // LAST-ACK: the connection is over, once the owner has taken everything (`settle`).
      break;
  }
  return DropReason.NONE;
}

/** `<SEQ=SEG.ACK><CTL=RST>` in SYN-SENT and SYN-RECEIVED. */
export function sendUnacceptableReset(tcp: TcpContext): void {
  const { tcb, segment } = tcp;
  tcp.counters.add(Counter.TCP_RESETS_SENT);
  tcp.egress.bareTcpOf(tcb.flowAt, segment.ack, asSeq(0), TcpFlag.RST);
}

/** The segment ends the handshake; its ACK field is still to be processed. */
export function establish(tcp: TcpContext, now: Instant): void {
  const { tcb, segment } = tcp;
  tcb.transition(TcpState.ESTABLISHED);
  tcb.sndWnd = segment.windowBytes(tcb.sndScale);
  tcb.maxSndWnd = tcb.sndWnd;
  tcb.sndWl1 = segment.seq;
  tcb.sndWl2 = segment.ack;
  startPathMtu(tcp, now);
  startCongestion(tcb, congestionOf(tcb, tcp.settings.congestion));
  if (tcb.congestion === CongestionControl.BBR) startBbr(tcp, now);
  startRack(tcb);
  startEcho(tcp);
  startAfterLosses(tcp, now);
  tcb.lastSentAt = now;
  if (tcp.settings.keepaliveUs > 0) {
    tcb.keepaliveDeadline = after(now, micros(tcp.settings.keepaliveUs));
    tcp.wheel.schedule(tcb.row, tcb.keepaliveDeadline);
  }
  // Behind a cookie the verdict is still to come; `accept` opens the flow then.
  if (!tcb.isWaiting) openFlow(tcp, now);
}

/** Seventh step: who may still receive? */
function takeText(tcp: TcpContext, now: Instant): DropReason {
  const tcb = tcp.tcb;
  switch (tcb.state) {
    case TcpState.ESTABLISHED:
    case TcpState.FIN_WAIT_1:
    case TcpState.FIN_WAIT_2:
      if (noteMark(tcp)) oweAckNow(tcp);
      return acceptText(tcp, now);
    default:
      // "This should not occur since a FIN has been received from the remote side."
      return DropReason.AFTER_CLOSE;
  }
}

/** Eighth step, first part: remember where the peer's data ends. */
function onFinSegment(tcp: TcpContext, now: Instant): void {
  const { tcb, segment } = tcp;
  if (tcb.has(TcbFlag.FIN_RECEIVED)) {
    oweAckNow(tcp);
    if (tcb.state === TcpState.TIME_WAIT) restartTimeWait(tcp, now);
    return;
  }
  const finSeq = seqAdd(segment.seq, segment.payloadLength);
  // The first to name the end is believed, until an end arrives in order.
  if (tcb.has(TcbFlag.FIN_SEEN) && tcb.finSeq !== finSeq && finSeq !== tcb.rcvNxt) return;
  tcb.finSeq = finSeq;
  tcb.raise(TcbFlag.FIN_SEEN);
  if (!seqGe(tcb.rcvNxt, finSeq)) oweAckNow(tcp);
}

/** Eighth step, second part: the FIN arrived in order. */
function afterFin(tcp: TcpContext): void {
  const tcb = tcp.tcb;
  switch (tcb.state) {
    case TcpState.ESTABLISHED:
      tcb.transition(TcpState.CLOSE_WAIT);
      break;
    case TcpState.FIN_WAIT_1:
      // Had our FIN been acknowledged, the fifth check would have moved us on.
      tcb.transition(TcpState.CLOSING);
      break;
    case TcpState.FIN_WAIT_2:
      enterTimeWait(tcp);
      break;
    default:
      break;
  }
}

function enterTimeWait(tcp: TcpContext): void {
  const tcb = tcp.tcb;
  tcb.transition(TcpState.TIME_WAIT);
  tcb.rtxDeadline = tcb.keepaliveDeadline = NEVER;
}

function restartTimeWait(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.phase !== FlowPhase.TIME_WAIT) return;
  tcp.timeWait.remove(tcb.row);
  tcp.timeWait.add(tcb.row);
  tcb.lifeDeadline = after(now, TIME_WAIT_US);
}

/** RFC 9293 §3.6.1 and RFC 6191 §2: a SYN that cannot be an old duplicate. */
function canReopen(tcp: TcpContext): boolean {
  const { tcb, segment } = tcp;
  if (!segment.has(TcpFlag.SYN) || segment.has(TcpFlag.RST | TcpFlag.ACK)) return false;
  if (tcb.has(TcbFlag.TIMESTAMPS) && segment.options.hasTimestamps) {
    const newer = (segment.options.tsValue - tcb.tsRecent) | 0;
    if (newer !== 0) return newer > 0;
  }
  return seqGt(segment.seq, tcb.rcvNxt);
}
