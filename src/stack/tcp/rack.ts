/**
 * RACK-TLP, RFC 8985: what was lost is told by time.
 *
 * Of all segments that were delivered, RACK remembers the one that was sent last. Whatever was sent
 * before it, and is neither acknowledged nor SACKed, was overtaken: it is late by the reordering
 * window, and then it is lost. So a lost retransmission is seen like any other loss, and a path
 * that reorders costs waiting, not retransmissions. The window begins at nothing, or a quarter of
 * the least round trip, and grows when the peer reports duplicates.
 *
 * Nothing overtakes the last segments of a flight. So when a flight stays without an answer for
 * two round trips, its last segment is sent again as a probe: the peer's answer to it tells RACK
 * what of the rest arrived, long before the retransmission timeout. The probe is always old data;
 * new data, which §7.3 prefers, is with its owner and may not exist.
 */
import { NO_SLAB, SlabField } from '../slab-pool.ts';
import { type Instant, seconds } from '../time.ts';
import { type Seq, seqGe, seqGt, seqLt } from '../wire/seq.ts';
import type { TcpContext } from './context.ts';
import { markLost, markWords, unitsBelow, unitsInFlight, unitsResent } from './scoreboard.ts';
import { timestampClock } from './segment.ts';
import { type Tcb, TcbFlag } from './tcb.ts';

/** RFC 5681's DupThresh: so much SACKed is loss, unless the path is known to reorder. */
const DUPLICATE_THRESHOLD = 3;
/** RFC 8985 §6.2 step 4. */
const REORDER_PERSIST_RECOVERIES = 16;
/** As Linux (tcp_min_rtt_wlen): a path that changed must be believed some day. */
const MIN_RTT_LIFE_US = seconds(300);

export function startRack(tcb: Tcb): void {
  tcb.rackFack = tcb.sndUna;
  tcb.reorderSteps = 1;
}

/** Steps 1 to 4 of §6.2 for the acknowledgment in hand. */
export function updateRack(tcp: TcpContext, now: Instant): void {
  const { tcb, news } = tcp;
  if (news.hasOriginal) {
    noteMinRtt(tcb, Math.max(1, now - news.originalSentAt), now);
    takeNewest(tcb, news.originalSentAt, news.originalEnd, now);
    // Step 3: what was sent once and came after what was sent behind it was overtaken.
    if (seqLt(news.lowestOriginalEnd, tcb.rackFack)) tcb.raise(TcbFlag.REORDERED);
    if (seqGt(news.originalEnd, tcb.rackFack)) tcb.rackFack = news.originalEnd;
  }
  if (news.hasResent) {
    if (isAnswerToResent(tcp, now)) takeNewest(tcb, news.resentAt, news.resentEnd, now);
    if (seqGt(news.resentEnd, tcb.rackFack)) tcb.rackFack = news.resentEnd;
  }
  updateReorderSteps(tcp);
}

/** Step 2: an acknowledgment that may be for the first transmission says nothing of the second. */
function isAnswerToResent(tcp: TcpContext, now: Instant): boolean {
  const { tcb, news, segment } = tcp;
  if (now - news.resentAt < tcb.minRttUs) return false;
  if (!tcb.has(TcbFlag.TIMESTAMPS) || !segment.options.hasTimestamps) return true;
  const sentStamp = (timestampClock(news.resentAt) + tcb.tsOffset) >>> 0;
  return ((segment.options.tsEcho - sentStamp) | 0) >= 0;
}

function takeNewest(tcb: Tcb, sentAt: Instant, end: Seq, now: Instant): void {
  if (sentAt < tcb.rackSentAt) return;
  if (sentAt === tcb.rackSentAt && !seqGt(end, tcb.rackEnd)) return;
  tcb.rackSentAt = sentAt;
  tcb.rackEnd = end;
  tcb.rackRttUs = now - sentAt;
}

function noteMinRtt(tcb: Tcb, sampleUs: number, now: Instant): void {
  const isOld = now - tcb.minRttAt > MIN_RTT_LIFE_US;
  if (tcb.minRttUs !== 0 && sampleUs > tcb.minRttUs && !isOld) return;
  tcb.minRttUs = sampleUs;
  tcb.minRttAt = now;
}

/** Step 4: each round trip with a report of duplicates makes us a quarter round more patient. */
function updateReorderSteps(tcp: TcpContext): void {
  const { tcb, news } = tcp;
  if (tcb.has(TcbFlag.DSACK_SEEN) && seqGe(tcb.sndUna, tcb.dsackRound)) {
    tcb.lower(TcbFlag.DSACK_SEEN);
  }
  if (!news.hasDsack || tcb.has(TcbFlag.DSACK_SEEN | TcbFlag.PROBING)) return;
  tcb.raise(TcbFlag.DSACK_SEEN);
  tcb.dsackRound = tcb.sndNxt;
  tcb.reorderSteps += 1;
  tcb.reorderPersist = REORDER_PERSIST_RECOVERIES;
}

/** Step 4, at the end of a recovery: after sixteen of them patience starts again. */
export function forgetReordering(tcb: Tcb): void {
  if (tcb.reorderPersist === 0) return;
  tcb.reorderPersist -= 1;
  if (tcb.reorderPersist === 0) tcb.reorderSteps = 1;
}

/** RACK.reo_wnd in microseconds, §6.2 step 4. */
function reorderWindow(tcb: Tcb): number {
  if (!tcb.has(TcbFlag.REORDERED)) {
    if (tcb.has(TcbFlag.FAST_RECOVERY | TcbFlag.LOSS_RECOVERY)) return 0;
    if (tcb.sackedBytes >= DUPLICATE_THRESHOLD * tcb.mss) return 0;
  }
  return Math.min((tcb.reorderSteps * tcb.minRttUs) / 4, tcb.srttUs);
}

/**
 * Step 5: marks as lost what was overtaken for longer than the reordering window.
 *
 * @returns microseconds until more will count as lost; 0 when nothing is merely late
 */
export function detectLoss(tcp: TcpContext, now: Instant): number {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  const patience = tcb.rackRttUs + reorderWindow(tcb);
  let wait = 0;
  let slabAt = tcb.sendHead;
  while (slabAt !== NO_SLAB) {
    const sentAt = view.getFloat64(slabAt + SlabField.SENT_AT, true) as Instant;
    // The queue is in the order of first transmissions, and no retransmission came before its own.
    if (sentAt > tcb.rackSentAt) break;
    const resentAt = view.getFloat64(slabAt + SlabField.RESENT_AT, true) as Instant;
    for (let word = 0; word < markWords(view, slabAt); word++) {
      const live = unitsInFlight(tcp, slabAt, word);
      if (live === 0) continue;
      const again = unitsResent(view, slabAt, word, live);
      wait = Math.max(
        wait,
        loseOvertaken(tcp, slabAt, word, live & ~again, sentAt, patience, now),
        loseOvertaken(tcp, slabAt, word, again, resentAt, patience, now),
      );
    }
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
  return wait;
}

/** @returns microseconds until units of `mask`, all sent at `sentAt`, will count as lost */
function loseOvertaken(
  tcp: TcpContext,
  slabAt: number,
  word: number,
  mask: number,
  sentAt: Instant,
  patience: number,
  now: Instant,
): number {
  const tcb = tcp.tcb;
  if (mask === 0 || sentAt > tcb.rackSentAt) return 0;
  const overtaken =
    sentAt === tcb.rackSentAt ? unitsBelow(tcp.arena.view, slabAt, word, mask, tcb.rackEnd) : mask;
  if (overtaken === 0) return 0;
  const wait = sentAt + patience - now;
  if (wait > 0) return wait;
  markLost(tcp, slabAt, word, overtaken);
  return 0;
}

/**
 * §6.3: a timeout loses the oldest segment, and of the others those that should have been
 * answered by now.
 */
export function loseOnTimeout(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  const view = tcp.arena.view;
  const patience = Math.max(tcb.rackRttUs, tcb.srttUs) + reorderWindow(tcb);
  let slabAt = tcb.sendHead;
  while (slabAt !== NO_SLAB) {
    const isOld = view.getFloat64(slabAt + SlabField.SENT_AT, true) + patience <= now;
    const isOldResent = view.getFloat64(slabAt + SlabField.RESENT_AT, true) + patience <= now;
    for (let word = 0; word < markWords(view, slabAt); word++) {
      const live = unitsInFlight(tcp, slabAt, word);
      const again = unitsResent(view, slabAt, word, live);
      const lost = (isOld ? live & ~again : 0) | (isOldResent ? again : 0);
      if (lost !== 0) markLost(tcp, slabAt, word, lost);
    }
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
  if (tcb.lostBytes === 0) loseOldest(tcp);
  if (tcb.has(TcbFlag.FIN_SENT) && tcb.sndUna !== tcb.sndNxt) tcb.raise(TcbFlag.FIN_LOST);
}

/** Everything in flight is lost: it was too long for the path. */
export function loseFlight(tcp: TcpContext): void {
  const view = tcp.arena.view;
  let slabAt = tcp.tcb.sendHead;
  while (slabAt !== NO_SLAB) {
    for (let word = 0; word < markWords(view, slabAt); word++) {
      const live = unitsInFlight(tcp, slabAt, word);
      if (live !== 0) markLost(tcp, slabAt, word, live);
    }
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
}

function loseOldest(tcp: TcpContext): void {
  const view = tcp.arena.view;
  let slabAt = tcp.tcb.sendHead;
  while (slabAt !== NO_SLAB) {
    for (let word = 0; word < markWords(view, slabAt); word++) {
      const live = unitsInFlight(tcp, slabAt, word);
      if (live === 0) continue;
      markLost(tcp, slabAt, word, live & -live);
      return;
    }
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
}
