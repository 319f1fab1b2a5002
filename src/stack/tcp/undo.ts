/**
 * Taking back a cut of the window that proves to have been a mistake: what counted as lost was only
 * late. Three witnesses, each enough:
 *
 * - Eifel, RFC 3522 §3.2: the acknowledgment that moves SND.UNA echoes a timestamp from before the
 *   first retransmission, so that the first transmission arrived.
 * - F-RTO, RFC 5682 §3.1, in the form that SACK allows: after a timeout, bytes are delivered that
 *   were in flight then and were never sent again. A timeout that ends a fast recovery is none of
 *   these (§3.2): SACK had shown losses, and the cut stays (sack-recovery.ts).
 * - D-SACK, RFC 3708: everything that was sent again arrived twice.
 */
import type { Instant } from '../time.ts';
import { seqDiff, seqGe, seqLe } from '../wire/seq.ts';
import { undoCut } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { forgetLost } from './scoreboard.ts';
import { timestampClock } from './segment.ts';
import { type Tcb, TcbFlag } from './tcb.ts';

/** Before the cut: remembers what it will cut. */
export function prepareUndo(tcb: Tcb): void {
  tcb.priorCwnd = tcb.cwnd;
  tcb.priorSsthresh = tcb.ssthresh;
  tcb.undoMark = tcb.sndUna;
  tcb.undoBytes = 0;
  tcb.raise(TcbFlag.UNDOABLE);
  tcb.lower(TcbFlag.RESENT_ANY);
}

/** Bytes are being sent again. */
export function noteResent(tcb: Tcb, bytes: number, now: Instant): void {
  if (!tcb.has(TcbFlag.RESENT_ANY)) {
    tcb.raise(TcbFlag.RESENT_ANY);
    tcb.resentTs = (timestampClock(now) + tcb.tsOffset) >>> 0;
  }
  tcb.undoBytes += bytes;
}

/** Looks for a witness in the acknowledgment in hand. @returns true when the cut was taken back */
export function undoIfSpurious(tcp: TcpContext): boolean {
  const { tcb, news } = tcp;
  const isTwice = news.hasDsack && isOfCut(tcp);
  if (isTwice) {
    tcb.undoBytes = Math.max(0, tcb.undoBytes - seqDiff(news.dsackRight, news.dsackLeft));
  }
  if (!tcb.has(TcbFlag.UNDOABLE) || !isSpurious(tcp, isTwice)) return false;
  forgetLost(tcp);
  undoCut(tcb);
  tcb.backoff = 0;
  tcb.lower(TcbFlag.UNDOABLE | TcbFlag.FAST_RECOVERY | TcbFlag.LOSS_RECOVERY);
  return true;
}

/**
 * The duplicate lies in what was in flight at the cut. A probe of the tail makes a duplicate of its
 * own, and what was sent later was doubled by the network: neither says anything of the cut.
 */
function isOfCut({ tcb, news }: TcpContext): boolean {
  const { dsackLeft, dsackRight } = news;
  if (dsackRight === tcb.probeEnd) return false;
  return seqGe(dsackLeft, tcb.undoMark) && seqLe(dsackRight, tcb.recover);
}

/** @param isTwice  a duplicate was reported that counts */
function isSpurious(tcp: TcpContext, isTwice: boolean): boolean {
  const { tcb, news, segment } = tcp;
  if (!tcb.has(TcbFlag.RESENT_ANY)) return false;
  if (isTwice && tcb.undoBytes === 0) return true;
  if (!tcb.has(TcbFlag.FAST_RECOVERY | TcbFlag.LOSS_RECOVERY)) return false;
  if (tcb.has(TcbFlag.LOSS_RECOVERY) && news.hasOriginal && seqLe(news.originalEnd, tcb.recover)) {
    return true;
  }
  if (!news.isAdvance || !tcb.has(TcbFlag.TIMESTAMPS) || !segment.options.hasTimestamps) {
    return false;
  }
  return ((segment.options.tsEcho - tcb.resentTs) | 0) < 0;
}
