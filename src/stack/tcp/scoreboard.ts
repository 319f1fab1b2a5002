/**
 * The sender's scoreboard, RFC 6675 §3, kept where the bytes lie: in the slabs of the send queue.
 *
 * A slab is one transmission, of up to 64 KiB and some forty packets. It is divided into at most
 * 64 units, and each unit has three marks, bits in the slab's meta words:
 *
 *   SACKED  the peer holds it
 *   LOST    it was lost, as far as we can tell, and was not sent again since
 *   RESENT  it was sent again, at least once
 *
 * A unit is one packet on the wire, or several where the MSS is tiny. SACK blocks come at packet
 * boundaries; one that covers a part of a unit says nothing of it, and the unit may be sent again
 * in vain: SACK is advice. So the memory is fixed, nothing is split or merged, and a full table
 * cannot be. First transmissions of a slab happen at one instant (SENT_AT). Of retransmissions the
 * slab keeps the first and the last instant, and each use takes the one that errs towards waiting.
 *
 * Invariants: no unit is both SACKED and LOST; units below SND.UNA have neither; `sackedBytes` and
 * `lostBytes` of the TCB are the bytes of all units so marked.
 */
import { NO_SLAB, SlabField } from '../slab-pool.ts';
import type { Instant } from '../time.ts';
import { asSeq, type Seq, seqAdd, seqDiff, seqGt, seqLe, seqLt, seqMax } from '../wire/seq.ts';
import { CongestionControl } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { takeSendState } from './delivery-rate.ts';
import { TcbFlag } from './tcb.ts';

/** Units of a slab: bits in two words. */
const UNITS_MAX = 64;
const WORD_BITS = 32;
const WORD_BYTES = 4;

/** Edges of blocks: forty bytes of options hold four. Filled and read by `takeSackOption`. */
const lefts = new Uint32Array(4);
const rights = new Uint32Array(4);

/**
 * A slab was sent for the first time.
 *
 * @param packet  payload bytes of a full packet on the wire
 */
export function startMarks(
  view: DataView,
  slabAt: number,
  length: number,
  packet: number,
  now: Instant,
): void {
  const packetsPerUnit = Math.ceil(length / (UNITS_MAX * packet));
  view.setUint32(slabAt + SlabField.UNIT, packet * packetsPerUnit, true);
  for (let at = SlabField.SACKED; at < SlabField.SENT_AT; at += 8) {
    view.setFloat64(slabAt + at, 0);
  }
  view.setFloat64(slabAt + SlabField.SENT_AT, now, true);
}

/** Bytes [from, to) of the slab are acknowledged now: their marks go, and `news` hears of them. */
export function noteAcked(tcp: TcpContext, slabAt: number, from: number, to: number): void {
  const view = tcp.arena.view;
  const unit = unitOf(view, slabAt);
  const length = lengthOf(view, slabAt);
  const first = Math.floor(from / unit);
  const end = to >= length ? Math.ceil(length / unit) : Math.floor(to / unit);
  for (let word = 0; word * WORD_BITS < end; word++) {
    const mask = rangeMask(first, end, word);
    if (mask === 0) continue;
    const sacked = marks(view, slabAt, SlabField.SACKED, word) & mask;
    unmarkSacked(tcp, slabAt, word, sacked);
    unmarkLost(tcp, slabAt, word, mask);
    noteDelivered(tcp, slabAt, word, mask & ~sacked);
  }
}

/** Takes the SACK option of the segment in hand; SEG.ACK has been taken. */
export function takeSackOption(tcp: TcpContext): void {
  const { tcb, segment, news } = tcp;
  const view = tcp.arena.view;
  const { sackAt, sackCount } = segment.options;
  let count = 0;
  for (let i = 0; i < sackCount; i++) {
    const left = view.getUint32(sackAt + i * 8) as Seq;
    const right = view.getUint32(sackAt + i * 8 + 4) as Seq;
    if (!seqLt(left, right)) continue;
    if (i === 0 && isDuplicateReport(tcp, left, right)) {
      news.hasDsack = true;
      news.dsackLeft = left;
      news.dsackRight = right;
    } else if (seqGt(right, tcb.sndUna) && seqLe(right, tcb.sndNxt)) {
      lefts[count] = left;
      rights[count] = right;
      count += 1;
    }
  }
  if (count > 0) markSacked(tcp, count);
}

/** RFC 2883 §5: below the acknowledgment, or inside the second block. */
function isDuplicateReport(tcp: TcpContext, left: Seq, right: Seq): boolean {
  const { segment } = tcp;
  const view = tcp.arena.view;
  const { sackAt, sackCount } = segment.options;
  if (seqLe(right, segment.ack)) return true;
  if (sackCount < 2) return false;
  const outerLeft = view.getUint32(sackAt + 8) as Seq;
  const outerRight = view.getUint32(sackAt + 12) as Seq;
  return seqLe(outerLeft, left) && seqLe(right, outerRight);
}

/**
 * Marks what the first `count` of the blocks cover, in one walk: a queue of small slabs is long,
 * and whoever sends the blocks chooses where they lie.
 */
function markSacked(tcp: TcpContext, count: number): void {
  const view = tcp.arena.view;
  let end = asSeq(rights[0]!);
  for (let i = 1; i < count; i++) end = seqMax(end, asSeq(rights[i]!));
  let slabAt = tcp.tcb.sendHead;
  while (slabAt !== NO_SLAB) {
    const start = startOf(view, slabAt);
    if (seqLe(end, start)) return;
    const length = lengthOf(view, slabAt);
    for (let i = 0; i < count; i++) {
      const from = seqDiff(asSeq(lefts[i]!), start);
      const to = seqDiff(asSeq(rights[i]!), start);
      if (from < length && to > 0) markUnitsSacked(tcp, slabAt, from, to);
    }
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
}

/** Bytes [from, to) of the slab are SACKed; both may lie outside of it. */
function markUnitsSacked(tcp: TcpContext, slabAt: number, from: number, to: number): void {
  const view = tcp.arena.view;
  const unit = unitOf(view, slabAt);
  const length = lengthOf(view, slabAt);
  const first = Math.max(Math.ceil(from / unit), ackedUnits(tcp, slabAt));
  const end = to >= length ? Math.ceil(length / unit) : Math.floor(to / unit);
  for (let word = 0; word * WORD_BITS < end; word++) {
    const known = marks(view, slabAt, SlabField.SACKED, word);
    const fresh = rangeMask(first, end, word) & ~known;
    if (fresh === 0) continue;
    unmarkLost(tcp, slabAt, word, fresh);
    setMarks(view, slabAt, SlabField.SACKED, word, known | fresh);
    tcp.tcb.sackedBytes += bytesOf(view, slabAt, word, fresh);
    noteDelivered(tcp, slabAt, word, fresh);
  }
}

/** Tells `news` of units that were delivered. */
function noteDelivered(tcp: TcpContext, slabAt: number, word: number, fresh: number): void {
  if (fresh === 0) return;
  const { news } = tcp;
  const view = tcp.arena.view;
  const resent = fresh & marks(view, slabAt, SlabField.RESENT, word);
  const original = fresh & ~resent;
  news.delivered += bytesOf(view, slabAt, word, fresh);
  if (original !== 0) {
    const sentAt = view.getFloat64(slabAt + SlabField.SENT_AT, true) as Instant;
    const lowest = unitEnd(view, slabAt, word * WORD_BITS + lowestBit(original));
    news.takeOriginal(sentAt, lowest, highestEnd(view, slabAt, word, original));
    if (tcp.tcb.congestion === CongestionControl.BBR) takeSendState(tcp, slabAt);
  }
  if (resent !== 0) {
    const sentAt = view.getFloat64(slabAt + SlabField.RESENT_FROM, true) as Instant;
    news.takeResent(sentAt, highestEnd(view, slabAt, word, resent));
  }
}

/**
 * Units of one word that are in flight: not acknowledged, SACKED or LOST.
 *
 * @returns a mask
 */
export function unitsInFlight(tcp: TcpContext, slabAt: number, word: number): number {
  const view = tcp.arena.view;
  const end = Math.ceil(lengthOf(view, slabAt) / unitOf(view, slabAt));
  const settled =
    marks(view, slabAt, SlabField.SACKED, word) | marks(view, slabAt, SlabField.LOST, word);
  return rangeMask(ackedUnits(tcp, slabAt), end, word) & ~settled;
}

/** Those units of `mask` that were sent again. */
export const unitsResent = (view: DataView, slabAt: number, word: number, mask: number): number =>
  mask & marks(view, slabAt, SlabField.RESENT, word);

/** Those units of `mask` whose last byte lies below `end`. */
export function unitsBelow(
  view: DataView,
  slabAt: number,
  word: number,
  mask: number,
  end: Seq,
): number {
  const length = lengthOf(view, slabAt);
  // A unit that ends exactly at `end` is the one that `end` was taken from.
  const offset = seqDiff(end, startOf(view, slabAt)) - 1;
  if (offset >= length) return mask;
  return mask & rangeMask(0, Math.max(0, Math.floor(offset / unitOf(view, slabAt))), word);
}

/** Units in flight count as lost. */
export function markLost(tcp: TcpContext, slabAt: number, word: number, mask: number): void {
  const view = tcp.arena.view;
  const bytes = bytesOf(view, slabAt, word, mask);
  const lost = marks(view, slabAt, SlabField.LOST, word);
  setMarks(view, slabAt, SlabField.LOST, word, lost | mask);
  tcp.tcb.lostBytes += bytes;
  tcp.news.lost += bytes;
}

/** Number of words with marks that the slab uses. */
export const markWords = (view: DataView, slabAt: number): number =>
  lengthOf(view, slabAt) > unitOf(view, slabAt) * WORD_BITS ? 2 : 1;

/** Bytes of one slab to be sent again. */
export interface LostRun {
  slabAt: number;
  /** Units. */
  from: number;
  to: number;
}

/**
 * Finds the first units that are LOST and stand together.
 *
 * @param run    its slab is where the search begins, NO_SLAB for the head of the queue
 * @param limit  bytes that may be sent, at least one unit is found all the same
 * @returns      false when nothing is lost
 */
export function findLost(tcp: TcpContext, run: LostRun, limit: number): boolean {
  const view = tcp.arena.view;
  let slabAt = run.slabAt === NO_SLAB ? tcp.tcb.sendHead : run.slabAt;
  while (slabAt !== NO_SLAB) {
    const from = firstLost(view, slabAt);
    if (from >= 0) {
      const most = Math.min(
        UNITS_MAX,
        from + Math.max(1, Math.floor(limit / unitOf(view, slabAt))),
      );
      let to = from + 1;
      while (to < most && isMarked(view, slabAt, SlabField.LOST, to)) to += 1;
      run.slabAt = slabAt;
      run.from = from;
      run.to = to;
      return true;
    }
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
  return false;
}

/** The first unit of the slab that is LOST; -1 when none is. */
function firstLost(view: DataView, slabAt: number): number {
  const low = marks(view, slabAt, SlabField.LOST, 0);
  if (low !== 0) return lowestBit(low);
  const high = marks(view, slabAt, SlabField.LOST, 1);
  return high === 0 ? -1 : WORD_BITS + lowestBit(high);
}

/** Units [from, to) of the slab are being sent again. */
export function markResent(
  tcp: TcpContext,
  slabAt: number,
  from: number,
  to: number,
  now: Instant,
): void {
  const view = tcp.arena.view;
  let isFirst = true;
  for (let word = 0; word < markWords(view, slabAt); word++) {
    const mask = rangeMask(from, to, word);
    unmarkLost(tcp, slabAt, word, mask);
    const resent = marks(view, slabAt, SlabField.RESENT, word);
    // Others that were sent again, and are still on their way, keep the earlier instant.
    if ((unitsInFlight(tcp, slabAt, word) & resent & ~mask) !== 0) isFirst = false;
    setMarks(view, slabAt, SlabField.RESENT, word, resent | mask);
  }
  if (isFirst) view.setFloat64(slabAt + SlabField.RESENT_FROM, now, true);
  view.setFloat64(slabAt + SlabField.RESENT_AT, now, true);
}

/** Nothing counts as lost any more: it was a mistake. */
export function forgetLost(tcp: TcpContext): void {
  forgetMarks(tcp, SlabField.LOST);
  tcp.tcb.lostBytes = 0;
  tcp.tcb.lower(TcbFlag.FIN_LOST);
}

/** The peer threw away what it had reported: RFC 2018 §8. */
export function forgetSacked(tcp: TcpContext): void {
  forgetMarks(tcp, SlabField.SACKED);
  tcp.tcb.sackedBytes = 0;
}

/** The peer holds the first unit in flight by its own report, and does not acknowledge it. */
export function isReneging(tcp: TcpContext): boolean {
  const slabAt = tcp.tcb.sendHead;
  if (slabAt === NO_SLAB || tcp.tcb.sackedBytes === 0) return false;
  return isMarked(tcp.arena.view, slabAt, SlabField.SACKED, ackedUnits(tcp, slabAt));
}

function forgetMarks(tcp: TcpContext, field: number): void {
  const view = tcp.arena.view;
  let slabAt = tcp.tcb.sendHead;
  while (slabAt !== NO_SLAB) {
    view.setFloat64(slabAt + field, 0);
    slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
  }
}

function unmarkSacked(tcp: TcpContext, slabAt: number, word: number, mask: number): void {
  if (mask === 0) return;
  const view = tcp.arena.view;
  const sacked = marks(view, slabAt, SlabField.SACKED, word);
  setMarks(view, slabAt, SlabField.SACKED, word, sacked & ~mask);
  tcp.tcb.sackedBytes -= bytesOf(view, slabAt, word, sacked & mask);
}

function unmarkLost(tcp: TcpContext, slabAt: number, word: number, mask: number): void {
  const view = tcp.arena.view;
  const lost = marks(view, slabAt, SlabField.LOST, word);
  if ((lost & mask) === 0) return;
  setMarks(view, slabAt, SlabField.LOST, word, lost & ~mask);
  tcp.tcb.lostBytes -= bytesOf(view, slabAt, word, lost & mask);
}

/** Units of the slab that lie below SND.UNA. */
function ackedUnits(tcp: TcpContext, slabAt: number): number {
  const view = tcp.arena.view;
  const acked = seqDiff(tcp.tcb.sndUna, startOf(view, slabAt));
  return acked <= 0 ? 0 : Math.floor(acked / unitOf(view, slabAt));
}

/** Bytes of the units in `mask`: the last unit of a slab may be short. */
function bytesOf(view: DataView, slabAt: number, word: number, mask: number): number {
  const unit = unitOf(view, slabAt);
  const length = lengthOf(view, slabAt);
  const last = Math.ceil(length / unit) - 1;
  const bytes = bitCount(mask) * unit;
  const hasLast = last >>> 5 === word && ((mask >>> (last & 31)) & 1) === 1;
  return hasLast ? bytes - ((last + 1) * unit - length) : bytes;
}

const startOf = (view: DataView, slabAt: number): Seq =>
  asSeq(view.getUint32(slabAt + SlabField.SEQ, true));
const lengthOf = (view: DataView, slabAt: number): number =>
  view.getUint32(slabAt + SlabField.LENGTH, true);
/** Bytes of one unit. */
export const unitOf = (view: DataView, slabAt: number): number =>
  view.getUint32(slabAt + SlabField.UNIT, true);

/** Sequence number behind a unit. */
const unitEnd = (view: DataView, slabAt: number, index: number): Seq =>
  seqAdd(
    startOf(view, slabAt),
    Math.min((index + 1) * unitOf(view, slabAt), lengthOf(view, slabAt)),
  );

const highestEnd = (view: DataView, slabAt: number, word: number, mask: number): Seq =>
  unitEnd(view, slabAt, word * WORD_BITS + 31 - Math.clz32(mask));

const marks = (view: DataView, slabAt: number, field: number, word: number): number =>
  view.getInt32(slabAt + field + word * WORD_BYTES, true);

const setMarks = (
  view: DataView,
  slabAt: number,
  field: number,
  word: number,
  mask: number,
): void => view.setInt32(slabAt + field + word * WORD_BYTES, mask, true);

const isMarked = (view: DataView, slabAt: number, field: number, index: number): boolean =>
  ((marks(view, slabAt, field, index >>> 5) >>> (index & 31)) & 1) === 1;

/** Bits of word `word` that stand for units [from, to). */
function rangeMask(from: number, to: number, word: number): number {
  const first = Math.max(0, from - word * WORD_BITS);
  const end = Math.min(WORD_BITS, to - word * WORD_BITS);
  if (first >= end) return 0;
  const below = end === WORD_BITS ? -1 : (1 << end) - 1;
  return below & (-1 << first);
}

const lowestBit = (mask: number): number => 31 - Math.clz32(mask & -mask);

/** Hacker's Delight §5-1. */
function bitCount(mask: number): number {
  let n = mask - ((mask >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
