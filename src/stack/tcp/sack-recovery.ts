/**
 * Loss recovery with a peer that permits SACK: RACK-TLP finds what was lost, PRR says how much may
 * be sent, the scoreboard says what. Peers without SACK are served by NewReno (acknowledgment.ts).
 */
import { Counter } from '../counters.ts';
import { NO_SLAB, SlabField } from '../slab-pool.ts';
import type { Instant } from '../time.ts';
import { asSeq, type Seq, seqAdd, seqDiff, seqGe } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { forgetLosses, noteLosses, updateBbr } from './bbr.ts';
import { isMtuProbeLostAlone, lossWindow, noteMtuProbeLost } from './black-hole.ts';
import {
  CongestionControl,
  cutOnLoss,
  cutOnTimeout,
  endRecovery,
  growWindow,
} from './congestion.ts';
import type { TcpContext } from './context.ts';
import { hasEcho } from './ecn-echo.ts';
import { noteRoundTrip } from './hystart.ts';
import { sendSegment } from './output.ts';
import { notePaced, paceByWindow, paceRoom } from './pacing.ts';
import { reduce, startReduction } from './prr.ts';
import { detectLoss, forgetReordering, loseFlight, loseOnTimeout, updateRack } from './rack.ts';
import { armTimers } from './recovery-timer.ts';
import { countRetransmit, sendFromSlab } from './retransmit.ts';
import { armRetransmission, sampleRtt, sampleRttByEcho } from './rtt.ts';
import {
  findLost,
  forgetSacked,
  isReneging,
  type LostRun,
  markResent,
  unitOf,
} from './scoreboard.ts';
import { endProbe } from './tail-loss-probe.ts';
import { RECOVERING, type Tcb, TcbFlag } from './tcb.ts';
import { noteResent, prepareUndo, undoIfSpurious } from './undo.ts';

/** Filled and read inside `resendLost`. */
const run: LostRun = { slabAt: NO_SLAB, from: 0, to: 0 };

/**
 * Loss detection, recovery and congestion control for the acknowledgment in hand, whose news the
 * scoreboard has taken.
 *
 * @param flightBefore  bytes in flight before it
 */
export function recoverOnAck(tcp: TcpContext, flightBefore: number, now: Instant): void {
  const { tcb, news } = tcp;
  const isProgress = news.isAdvance || news.delivered > 0;
  if (!isProgress && !news.hasDsack) return;
  const isBbr = tcb.congestion === CongestionControl.BBR;
  if (news.hasOriginal) {
    const roundTripUs = Math.max(1, now - news.originalSentAt);
    if (news.isAdvance && !news.hasResent) sampleRtt(tcp, roundTripUs);
    if (!isBbr) noteRoundTrip(tcb, roundTripUs);
  }
  // What fills a hole brings an ACK for all behind it, which may have waited for long.
  if (news.hasResent && news.isAdvance) sampleRttByEcho(tcp, now);
  updateRack(tcp, now);
  const wasProbing = tcb.has(TcbFlag.PROBING);
  endProbe(tcp);
  const wasUndone = undoIfSpurious(tcp);
  // A duplicate alone tells of no loss; and to make one up costs its sender nothing.
  if (!isProgress && !wasUndone && wasProbing === tcb.has(TcbFlag.PROBING)) return;
  if (tcb.has(RECOVERING) && seqGe(tcb.sndUna, tcb.recover)) leaveRecovery(tcp);
  const waitUs = detectLoss(tcp, now);
  if (tcb.lostBytes > 0 && !tcb.has(RECOVERING)) enterFastRecovery(tcp);
  if (isBbr) {
    if (wasUndone) forgetLosses(tcp);
    updateBbr(tcp, flightBefore, now);
  } else {
    if (tcb.has(TcbFlag.FAST_RECOVERY)) {
      reduce(tcb, news.delivered, news.isAdvance && news.lost === 0);
    } else if (!wasUndone && !hasEcho(tcp)) {
      growWindow(tcb, news.delivered, flightBefore, tcp.settings.slabBytesPerFlow, now);
    }
    paceByWindow(tcp);
  }
  const hasResent = resendLost(tcp, now);
  armTimers(tcp, waitUs, news.isAdvance || hasResent, now);
}

/**
 * RFC 8985 §6.3: the reordering window has passed for what was merely late. Or the pacer lets BBR
 * send again what was lost.
 */
export function recoverOnReorderTimer(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  tcp.news.clear();
  const waitUs = detectLoss(tcp, now);
  if (tcb.lostBytes > 0 && !tcb.has(RECOVERING)) enterFastRecovery(tcp);
  if (tcb.congestion === CongestionControl.BBR) noteLosses(tcp);
  else if (tcb.has(TcbFlag.FAST_RECOVERY)) reduce(tcb, 0, false);
  armTimers(tcp, waitUs, resendLost(tcp, now), now);
}

/** The retransmission timeout, RFC 6298 §5.4, RFC 8985 §6.3. The caller has counted it. */
export function recoverOnTimeout(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (!tcb.has(RECOVERING)) prepareUndo(tcb);
  else if (tcb.has(TcbFlag.FAST_RECOVERY)) tcb.lower(TcbFlag.UNDOABLE);
  cutOnTimeout(tcb, !tcb.has(RECOVERING));
  if (isReneging(tcp)) forgetSacked(tcp);
  loseOnTimeout(tcp, now);
  tcb.lower(TcbFlag.FAST_RECOVERY | TcbFlag.PROBING);
  tcb.raise(TcbFlag.LOSS_RECOVERY);
  tcb.recover = tcb.sndNxt;
  tcb.cwnd = tcb.inFlight + lossWindow(tcb);
  resendLost(tcp, now);
  armRetransmission(tcp, now);
}

/** Sends the whole flight again: a segment was too long for the path, RFC 1191 §6.4. */
export function recoverOnPathMtu(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  loseFlight(tcp);
  tcb.lower(TcbFlag.FAST_RECOVERY | TcbFlag.PROBING | TcbFlag.UNDOABLE);
  tcb.raise(TcbFlag.LOSS_RECOVERY);
  tcb.recover = tcb.sndNxt;
  resendLost(tcp, now);
  armRetransmission(tcp, now);
}

function enterFastRecovery(tcp: TcpContext): void {
  const tcb = tcp.tcb;
  tcp.counters.add(Counter.TCP_FAST_RETRANSMITS);
  if (isMtuProbeLostAlone(tcp)) {
    repairMtuProbe(tcb);
    return;
  }
  prepareUndo(tcb);
  cutOnLoss(tcb, tcb.flightSize);
  startReduction(tcb);
  tcb.recover = tcb.sndNxt;
  tcb.lower(TcbFlag.PROBING);
  tcb.raise(TcbFlag.FAST_RECOVERY);
}

/** A probe of the path was lost, and nothing else: it goes again, and the window stays. */
function repairMtuProbe(tcb: Tcb): void {
  tcb.lower(TcbFlag.PROBING | TcbFlag.UNDOABLE);
  tcb.raise(TcbFlag.LOSS_RECOVERY);
  tcb.recover = tcb.sndNxt;
}

function leaveRecovery(tcp: TcpContext): void {
  const tcb = tcp.tcb;
  if (tcb.has(TcbFlag.FAST_RECOVERY)) endRecovery(tcb);
  tcb.lower(RECOVERING);
  forgetReordering(tcb);
}

/**
 * Sends again what is lost, as far as the window allows, and the pacer of BBR; PRR needs none.
 *
 * @returns true when anything was sent
 */
function resendLost(tcp: TcpContext, now: Instant): boolean {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  const isPaced = tcb.has(TcbFlag.PACED) && tcb.congestion === CongestionControl.BBR;
  let hasSent = false;
  run.slabAt = NO_SLAB;
  while (tcb.lostBytes > 0) {
    let room = tcb.cwnd - tcb.inFlight;
    if (room < tcb.mss) return hasSent;
    if (isPaced) room = Math.min(room, paceRoom(tcp, now));
    if (room === 0 || !findLost(tcp, run, room)) return hasSent;
    const { slabAt } = run;
    const start = asSeq(view.getUint32(slabAt + SlabField.SEQ, true));
    const length = view.getUint32(slabAt + SlabField.LENGTH, true);
    const unit = unitOf(view, slabAt);
    if (!fitIntoWindow(tcb, start, unit, length)) return hasSent;
    const from = Math.max(run.from * unit, seqDiff(tcb.sndUna, start));
    // RFC 9293 §3.8.6: the peer may have taken back a part of its window. The oldest unit goes all
    // the same, as a probe.
    const reach = seqDiff(tcb.sndUna, start) + Math.max(tcb.sndWnd, unit);
    if (run.to * unit > reach && length > reach) run.to = Math.floor(reach / unit);
    if (run.to <= run.from) return hasSent;
    const to = Math.min(run.to * unit, length);
    markResent(tcp, slabAt, run.from, run.to, now);
    sendPart(tcp, slabAt, from, to, now);
    hasSent = true;
  }
  if (tcb.has(TcbFlag.FIN_LOST) && tcb.cwnd > tcb.inFlight) {
    sendFinAgain(tcp, now);
    hasSent = true;
  }
  return hasSent;
}

/**
 * Cuts the run to what lies in the peer's window, of which it may have taken back a part. Whatever
 * the window, its oldest unit may go: it probes (RFC 9293 §3.8.6).
 *
 * @returns false when nothing is left
 */
function fitIntoWindow(tcb: Tcb, start: Seq, unit: number, length: number): boolean {
  const edge = seqDiff(seqAdd(tcb.sndUna, tcb.sndWnd), start);
  if (Math.min(run.to * unit, length) <= edge) return true;
  const isOldest = run.from * unit <= seqDiff(tcb.sndUna, start);
  run.to = Math.max(Math.floor(edge / unit), isOldest ? run.from + 1 : run.from);
  return run.to > run.from;
}

/** Sends bytes [from, to) of the slab again, and the FIN with them when it stands behind them. */
function sendPart(tcp: TcpContext, slabAt: number, from: number, to: number, now: Instant): void {
  const tcb = tcp.tcb;
  const start = asSeq(tcp.arena.view.getUint32(slabAt + SlabField.SEQ, true));
  const isTail = tcb.has(TcbFlag.FIN_SENT) && seqAdd(start, to + 1) === tcb.sndNxt;
  const flags = isTail ? TcpFlag.PSH | TcpFlag.FIN : TcpFlag.PSH;
  if (isTail) tcb.lower(TcbFlag.FIN_LOST);
  countRetransmit(tcp);
  noteMtuProbeLost(tcp, slabAt, now);
  noteResent(tcb, to - from, now);
  if (tcb.has(TcbFlag.PACED)) notePaced(tcp, to - from, now);
  if (tcb.has(TcbFlag.FAST_RECOVERY)) tcb.prrOut += to - from;
  sendFromSlab(tcp, slabAt, from, to - from, seqAdd(start, from), flags, now);
}

function sendFinAgain(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  tcb.lower(TcbFlag.FIN_LOST);
  countRetransmit(tcp);
  noteResent(tcb, 1, now);
  sendSegment(tcp, seqAdd(tcb.sndNxt, -1), TcpFlag.FIN, 0, 0, now);
}
