/** The fifth check of RFC 9293 §3.10.7.4: what an ACK releases, and what it tells of losses. */
import { Counter } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import { NO_SLAB, SlabField } from '../slab-pool.ts';
import { type Instant, NEVER } from '../time.ts';
import { asSeq, type Seq, seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { sendChallengeAck } from './answers.ts';
import { isMtuProbeLostAlone, noteMtuProbeAcked } from './black-hole.ts';
import {
  deflatePartial,
  enterFastRecovery,
  growWindow,
  inflate,
  leaveFastRecovery,
} from './congestion.ts';
import type { TcpContext } from './context.ts';
import { hasEcho, obeyEcho } from './ecn-echo.ts';
import { sendRoom } from './output.ts';
import { retransmitLost, retransmitOldest } from './retransmit.ts';
import { armRetransmission, measureRtt } from './rtt.ts';
import { recoverOnAck } from './sack-recovery.ts';
import { noteAcked, takeSackOption } from './scoreboard.ts';
import { timestampClock } from './segment.ts';
import { endProbeOnRepeatedAck } from './tail-loss-probe.ts';
import { TcbFlag } from './tcb.ts';

/** RFC 5681 §3.2. */
const DUPLICATE_ACK_THRESHOLD = 3;

/**
 * Takes SEG.ACK and SEG.WND in a synchronized state.
 *
 * @returns a reason when the segment ends here
 */
export function processAck(tcp: TcpContext, now: Instant): DropReason {
  const tcb = tcp.tcb;
  const ack = tcp.segment.ack;
  // RFC 5961 §5.2: an ACK from outside this range is a guess.
  const oldest = seqAdd(tcb.sndUna, -tcb.maxSndWnd);
  if (seqGt(ack, tcb.sndNxt) || seqLt(ack, oldest)) {
    sendChallengeAck(tcp, now);
    return DropReason.UNACCEPTABLE_ACK;
  }
  const flight = tcb.flightSize;
  tcb.probes = 0;
  if (tcb.has(TcbFlag.SACK)) {
    const flightBefore = tcb.inFlight;
    const isNew = seqGt(ack, tcb.sndUna);
    if (tcb.has(TcbFlag.PROBING) && isRepeated(tcp)) endProbeOnRepeatedAck(tcp);
    if (isNew || ack === tcb.sndUna) updateWindow(tcp, isNew);
    takeNews(tcp, ack, now);
    recoverOnAck(tcp, flightBefore, now);
  } else if (seqGt(ack, tcb.sndUna)) {
    updateWindow(tcp, true);
    onNewAck(tcp, ack, flight, now);
  } else if (isDuplicate(tcp, flight)) {
    onDuplicateAck(tcp, now);
  } else if (ack === tcb.sndUna) {
    updateWindow(tcp, false);
  }
  obeyEcho(tcp);
  offerRoom(tcp, now);
  return DropReason.NONE;
}

/** Tells the owner of room, when it waits for room. */
export function offerRoom(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (!tcb.has(TcbFlag.SEND_WANTED) || tcb.has(TcbFlag.REPORTED)) return;
  if (sendRoom(tcp, now) === 0) {
    armPersist(tcp, now);
    return;
  }
  tcb.lower(TcbFlag.SEND_WANTED);
  tcp.owner.onRoom(tcb.row, now);
}

/**
 * The persist timer, RFC 9293 §3.8.6.1: with nothing in flight and no window, only a probe can
 * find out that the window opened. A flow that waits for the pacer needs no probe.
 */
export function armPersist(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.has(TcbFlag.PACE_WAIT)) return;
  if (tcb.flightSize === 0 && tcb.rtxDeadline === NEVER) armRetransmission(tcp, now);
}

/** What the segment says of the send queue, for a peer that permits SACK. */
function takeNews(tcp: TcpContext, ack: Seq, now: Instant): void {
  const { tcb, news } = tcp;
  news.clear();
  tcp.rate.clear();
  if (seqGt(ack, tcb.sndUna)) {
    const una = tcb.sndUna;
    tcb.sndUna = ack;
    tcb.touch(now);
    news.isAdvance = true;
    // The SYN-ACK is timed; slabs know for themselves when they were sent.
    measureRtt(tcp, ack, now);
    releaseAcked(tcp, una, ack, now);
    if (ack === tcb.sndNxt) tcb.lower(TcbFlag.FIN_LOST);
  }
  if (tcp.segment.options.sackCount > 0) takeSackOption(tcp);
}

function onNewAck(tcp: TcpContext, ack: Seq, flight: number, now: Instant): void {
  const tcb = tcp.tcb;
  const una = tcb.sndUna;
  const acked = seqDiff(ack, una);
  tcb.sndUna = ack;
  tcb.dupAcks = 0;
  tcb.touch(now);
  measureRtt(tcp, ack, now);
  releaseAcked(tcp, una, ack, now);
  if (tcb.has(TcbFlag.FAST_RECOVERY)) {
    if (seqGe(ack, tcb.recover)) {
      tcb.lower(TcbFlag.FAST_RECOVERY);
      leaveFastRecovery(tcb);
    } else {
      retransmitOldest(tcp, now);
      deflatePartial(tcb, acked);
    }
  } else {
    // Outside of recovery `recover` stays close behind, or it would seem to lie ahead after 2 GiB.
    if (!tcb.has(TcbFlag.LOSS_RECOVERY) && seqGt(ack, tcb.recover)) tcb.recover = ack;
    // The ACK of our SYN opens no window: RFC 5681 §3.1.
    if (una !== tcb.iss && !hasEcho(tcp)) {
      growWindow(tcb, acked, flight, tcp.settings.slabBytesPerFlow, now);
    }
    if (tcb.has(TcbFlag.LOSS_RECOVERY)) {
      if (seqGe(ack, tcb.recover)) tcb.lower(TcbFlag.LOSS_RECOVERY);
      else retransmitLost(tcp, now);
    }
  }
  if (tcb.flightSize === 0) tcb.rtxDeadline = NEVER;
  else armRetransmission(tcp, now);
}

/** RFC 5681 §2: a repeated ACK, and data in flight. */
const isDuplicate = (tcp: TcpContext, flight: number): boolean => flight > 0 && isRepeated(tcp);

/** The same ACK again, and the same window; no data, no SYN or FIN. */
function isRepeated(tcp: TcpContext): boolean {
  const { tcb, segment } = tcp;
  return (
    segment.ack === tcb.sndUna &&
    segment.payloadLength === 0 &&
    !segment.has(TcpFlag.SYN | TcpFlag.FIN) &&
    segment.windowBytes(tcb.sndScale) === tcb.sndWnd
  );
}

function onDuplicateAck(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  tcb.dupAcks += 1;
  if (tcb.has(TcbFlag.LOSS_RECOVERY)) return;
  if (tcb.has(TcbFlag.FAST_RECOVERY)) {
    inflate(tcb);
    return;
  }
  // RFC 6582 §3.2 step 2: duplicates of what was sent again before are no sign of a new loss.
  if (tcb.dupAcks !== DUPLICATE_ACK_THRESHOLD || !seqGe(tcb.sndUna, tcb.recover)) return;
  tcp.counters.add(Counter.TCP_FAST_RETRANSMITS);
  tcb.recover = tcb.sndNxt;
  tcb.raise(TcbFlag.FAST_RECOVERY);
  const { cwnd } = tcb;
  const isProbe = isMtuProbeLostAlone(tcp);
  retransmitOldest(tcp, now);
  enterFastRecovery(tcb);
  // A lost probe of the path is no sign of congestion, RFC 4821 §3.
  if (isProbe) tcb.cwnd = tcb.ssthresh = cwnd;
  armRetransmission(tcp, now);
}

/** SND.WND, SND.WL1 and SND.WL2 as RFC 9293 §3.10.7.4 has it: only news move the window. */
function updateWindow(tcp: TcpContext, isNew: boolean): void {
  const { tcb, segment } = tcp;
  if (
    isNew ||
    seqLt(tcb.sndWl1, segment.seq) ||
    (tcb.sndWl1 === segment.seq && seqLe(tcb.sndWl2, segment.ack))
  ) {
    const window = segment.windowBytes(tcb.sndScale);
    // A window that opens ends the persist state; its timer must not count as a timeout.
    if (window > tcb.sndWnd && tcb.flightSize === 0) {
      tcb.rtxDeadline = NEVER;
      tcb.backoff = 0;
    }
    tcb.sndWnd = window;
    if (window > tcb.maxSndWnd) tcb.maxSndWnd = window;
    tcb.sndWl1 = segment.seq;
    tcb.sndWl2 = segment.ack;
  }
}

/** Gives back the slabs whose last byte is acknowledged. */
function releaseAcked(tcp: TcpContext, una: Seq, ack: Seq, now: Instant): void {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  const hasMarks = tcb.has(TcbFlag.SACK);
  let slabAt = tcb.sendHead;
  while (slabAt !== NO_SLAB) {
    const start = asSeq(view.getUint32(slabAt + SlabField.SEQ, true));
    const length = view.getUint32(slabAt + SlabField.LENGTH, true);
    const acked = seqDiff(ack, start);
    if (acked <= 0) break;
    if (hasMarks) noteAcked(tcp, slabAt, Math.max(0, seqDiff(una, start)), Math.min(acked, length));
    if (acked < length) break;
    const next = view.getInt32(slabAt + SlabField.NEXT, true);
    tcb.sendSlabBytes -= tcp.slabs.sizeOf(slabAt);
    tcp.slabs.release(slabAt);
    slabAt = next;
  }
  tcb.sendHead = slabAt;
  if (slabAt === NO_SLAB) tcb.sendTail = NO_SLAB;
  noteMtuProbeAcked(tcp, ack, now);
  tcb.unackedSinceMs = timestampClock(now);
}
