/**
 * Whether a segment fits the windows of a connection that is watched from between its ends, as the
 * kernel's nf_conntrack_proto_tcp.c sees it after Guido van Rooij, "Real Stateful TCP Packet
 * Filtering in IP Filter". Of each end is kept what it has sent:
 *
 *   END         the highest sequence number behind what it sent
 *   MAX_END     the highest that the other end has allowed it: acknowledgment and window
 *   MAX_WINDOW  the largest window that it has offered
 *   MAX_ACK     the highest acknowledgment that it has sent
 *
 * A segment of the sender fits when it does not begin behind MAX_END, does not end more than a
 * window of the receiver before END, acknowledges nothing that was not sent, and nothing very old.
 * The watcher may have missed segments, and the ends may have missed some that it has seen; so what
 * is merely old passes, and only what nobody could have sent does not.
 */
import { FlowField, TrackState } from '../flow-row.ts';
import type { Segment } from '../tcp/segment.ts';
import { asSeq, type Seq, seqAdd, seqDiff, seqGt, seqLe, seqLt, seqMax } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { SACK_BLOCK_BYTES } from '../wire/tcp-options.ts';

/** Offsets in WINDOW_ORIGINAL and WINDOW_REPLY; uint32, in host byte order. */
export const SenderField = { END: 0, MAX_END: 4, MAX_WINDOW: 8, MAX_ACK: 12 } as const;

/** Bits of SCALE_ORIGINAL and SCALE_REPLY. The low four are the shift count, RFC 7323 §2.2. */
export const SenderBit = {
  SHIFT: 0x0f,
  /** Its SYN had the option; both ends must have it. */
  HAS_SCALE: 0x10,
  SACK_PERMITTED: 0x20,
  /** It sent the first FIN. */
  CLOSED_FIRST: 0x40,
  /** It sent what the other end has not acknowledged. */
  UNACKNOWLEDGED: 0x80,
} as const;

/** Bits of LAST_BITS: what the last segment was, and what else does not fit a sender's byte. */
export const LastBit = {
  /** It was one of the reply direction. */
  REPLY: 0x01,
  /** MAX_ACK of the sender says something. */
  ACKED_ORIGINAL: 0x02,
  ACKED_REPLY: 0x04,
  /** Both ends have sent a SYN. */
  SIMULTANEOUS: 0x08,
  /** A SYN passed in LAST_ACK: the ACK that it draws (RFC 5961 §4) is not one of the FIN. */
  CHALLENGED: 0x10,
  /** Two bits: how often the last data was sent again; 3 is three times or more. */
  REPEATS: 0x60,
  ONE_REPEAT: 0x20,
} as const;

/** What the windows say of a segment. */
export const Fit = {
  ACCEPTED: 0,
  /** It passes and changes nothing: what it says is old. */
  IGNORED: 1,
  /** No end could have sent it. */
  INVALID: 2,
} as const;
export type Fit = (typeof Fit)[keyof typeof Fit];

/** An acknowledgment may be so much older than the last: more than any unscaled window. */
const OLDEST_ACK = 66_000;

export const senderAt = (rowAt: number, isReply: boolean): number =>
  rowAt + (isReply ? FlowField.WINDOW_REPLY : FlowField.WINDOW_ORIGINAL);

export const senderBitsAt = (rowAt: number, isReply: boolean): number =>
  rowAt + (isReply ? FlowField.SCALE_REPLY : FlowField.SCALE_ORIGINAL);

const seqAt = (view: DataView, at: number): Seq => view.getUint32(at, true) as Seq;

export function raiseBits(view: DataView, at: number, bits: number): void {
  view.setUint8(at, view.getUint8(at) | bits);
}

export function lowerBits(view: DataView, at: number, bits: number): void {
  view.setUint8(at, view.getUint8(at) & ~bits);
}

/**
 * Compares a segment with the windows of its flow, and brings them up to date when it fits.
 *
 * @param rowAt      position of the flow's row
 * @param isLiberal  what does not fit passes all the same, and changes nothing
 */
export function fitSegment(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  state: TrackState,
  segment: Segment,
  isLiberal: boolean,
): Fit {
  const sender = senderAt(rowAt, isReply);
  const receiver = senderAt(rowAt, !isReply);
  let { seq, ack, end } = segment;
  let sack = highestSack(view, rowAt, isReply, segment);
  if (meetSender(view, rowAt, isReply, state, segment, sack)) return Fit.ACCEPTED;
  const receiverEnd = seqAt(view, receiver + SenderField.END);
  const isReset = segment.has(TcpFlag.RST);
  // Some stacks set ACK in a reset, and acknowledge nothing.
  if (!segment.has(TcpFlag.ACK) || (isReset && ack === 0)) ack = sack = receiverEnd;
  // The answer to a SYN, RFC 9293 §3.10.7.1.
  if (isReset && seq === 0 && state === TrackState.SYN_SENT) {
    seq = end = seqAt(view, sender + SenderField.END);
  }
  const fit = compare(view, sender, receiver, seq, end, sack);
  if (fit !== Fit.ACCEPTED) {
    if (fit === Fit.IGNORED && seqGt(seq, seqAt(view, sender + SenderField.MAX_END))) {
      noteOvershot(view, rowAt, isReply, end);
    }
    return isLiberal ? Fit.ACCEPTED : fit;
  }
  updateSender(view, rowAt, isReply, segment, ack, sack, end);
  updateReceiver(view, rowAt, isReply, segment, ack, sack, end);
  return Fit.ACCEPTED;
}

/** Where a flow stands that begins in its middle: its first segment is all there is to go by. */
export function pickUp(view: DataView, rowAt: number, segment: Segment): void {
  const sender = senderAt(rowAt, false);
  const window = Math.max(segment.window, 1);
  view.setUint32(sender + SenderField.END, segment.end, true);
  view.setUint32(sender + SenderField.MAX_WINDOW, window, true);
  view.setUint32(sender + SenderField.MAX_END, seqAdd(segment.end, window), true);
  view.setUint8(rowAt + FlowField.SCALE_ORIGINAL, SenderBit.SACK_PERMITTED);
  view.setUint8(rowAt + FlowField.SCALE_REPLY, SenderBit.SACK_PERMITTED);
}

/** The sender is new, or begins again, with this SYN or SYN-ACK. */
export function beginSender(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  segment: Segment,
): void {
  const { windowScale, sackPermitted } = segment.options;
  let bits = windowScale < 0 ? 0 : SenderBit.HAS_SCALE | windowScale;
  if (sackPermitted) bits |= SenderBit.SACK_PERMITTED;
  beginSenderAt(view, rowAt, isReply, segment.end, segment.window, bits);
}

/** @param bits  of SenderBit */
export function beginSenderAt(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  end: Seq,
  window: number,
  bits: number,
): void {
  const sender = senderAt(rowAt, isReply);
  view.setUint32(sender + SenderField.END, end, true);
  view.setUint32(sender + SenderField.MAX_END, end, true);
  view.setUint32(sender + SenderField.MAX_WINDOW, Math.max(window, 1), true);
  const ownAt = senderBitsAt(rowAt, isReply);
  const otherAt = senderBitsAt(rowAt, !isReply);
  view.setUint8(ownAt, bits);
  const hasScales = (bits & view.getUint8(otherAt) & SenderBit.HAS_SCALE) !== 0;
  if (!isReply || hasScales) return;
  lowerBits(view, ownAt, SenderBit.SHIFT);
  lowerBits(view, otherAt, SenderBit.SHIFT);
}

/** Forgets a sender: the next of its segments is the first. */
export function forgetSender(view: DataView, rowAt: number, isReply: boolean): void {
  const sender = senderAt(rowAt, isReply);
  view.setFloat64(sender, 0);
  view.setFloat64(sender + SenderField.MAX_WINDOW, 0);
  view.setUint8(senderBitsAt(rowAt, isReply), 0);
  lowerBits(view, rowAt + FlowField.LAST_BITS, ackedBit(isReply));
}

/** The highest acknowledgment that this end has sent counts: there was one. */
export const ackedBit = (isReply: boolean): number =>
  isReply ? LastBit.ACKED_REPLY : LastBit.ACKED_ORIGINAL;

/** The right edge of what the segment acknowledges: selectively (RFC 2018), if both agreed. */
function highestSack(view: DataView, rowAt: number, isReply: boolean, segment: Segment): Seq {
  let highest = segment.ack;
  const { sackCount, sackAt } = segment.options;
  if (sackCount === 0) return highest;
  const bits = view.getUint8(senderBitsAt(rowAt, !isReply));
  if ((bits & SenderBit.SACK_PERMITTED) === 0) return highest;
  const endAt = sackAt + sackCount * SACK_BLOCK_BYTES;
  for (let at = sackAt; at < endAt; at += SACK_BLOCK_BYTES) {
    highest = seqMax(view.getUint32(at + SACK_BLOCK_BYTES / 2) as Seq, highest);
  }
  return highest;
}

/**
 * The first segment of a sender says where it stands; so does a SYN with which it begins again.
 *
 * @returns true for a SYN that acknowledges nothing, of which there is nothing to compare
 */
function meetSender(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  state: TrackState,
  segment: Segment,
  sack: Seq,
): boolean {
  const sender = senderAt(rowAt, isReply);
  const isSyn = segment.has(TcpFlag.SYN);
  if (view.getUint32(sender + SenderField.MAX_WINDOW, true) === 0) {
    if (isSyn) {
      beginSender(view, rowAt, isReply, segment);
      return !segment.has(TcpFlag.ACK);
    }
    meetInTheMiddle(view, rowAt, isReply, segment, sack);
    return false;
  }
  const isOpening = state === TrackState.SYN_SENT || state === TrackState.SYN_RECV;
  if (!isSyn || !isOpening || seqLe(segment.end, seqAt(view, sender + SenderField.END))) {
    return false;
  }
  beginSender(view, rowAt, isReply, segment);
  return isReply && !segment.has(TcpFlag.ACK);
}

function meetInTheMiddle(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  segment: Segment,
  sack: Seq,
): void {
  const sender = senderAt(rowAt, isReply);
  const receiver = senderAt(rowAt, !isReply);
  const shift = view.getUint8(senderBitsAt(rowAt, isReply)) & SenderBit.SHIFT;
  const window = Math.max(segment.window << shift, 1);
  view.setUint32(sender + SenderField.END, segment.end, true);
  view.setUint32(sender + SenderField.MAX_WINDOW, window, true);
  view.setUint32(sender + SenderField.MAX_END, seqAdd(segment.end, window), true);
  const receiverEnd = seqAt(view, receiver + SenderField.END);
  if (view.getUint32(receiver + SenderField.MAX_WINDOW, true) === 0) {
    view.setUint32(receiver + SenderField.END, sack, true);
    view.setUint32(receiver + SenderField.MAX_END, sack, true);
  } else if (sack === seqAdd(receiverEnd, 1)) {
    // The answer to a keep-alive with which the flow was picked up.
    view.setUint32(receiver + SenderField.END, sack, true);
  }
}

function compare(
  view: DataView,
  sender: number,
  receiver: number,
  seq: Seq,
  end: Seq,
  sack: Seq,
): Fit {
  const senderEnd = seqAt(view, sender + SenderField.END);
  const maxEnd = seqAt(view, sender + SenderField.MAX_END);
  const receiverEnd = seqAt(view, receiver + SenderField.END);
  const receiverWindow = view.getUint32(receiver + SenderField.MAX_WINDOW, true);
  const oldest = Math.max(view.getUint32(sender + SenderField.MAX_WINDOW, true), OLDEST_ACK);
  const isAckKnown = seqLe(sack, receiverEnd);
  const isAckRecent = seqGt(sack, seqAdd(receiverEnd, -oldest - 1));
  const isNew = seqGt(end, seqAdd(senderEnd, -receiverWindow - 1));
  if (seqGt(seq, maxEnd)) {
    // Some send more than they may, by less than a window; the other end may take it.
    const isNear = asSeq(end - maxEnd + 1) <= receiverWindow;
    const isPlausible = receiverWindow !== 0 && isNew && isNear && isAckKnown && isAckRecent;
    return isPlausible ? Fit.IGNORED : Fit.INVALID;
  }
  if (!isAckKnown) return Fit.INVALID;
  return (receiverWindow === 0 || isNew) && isAckRecent ? Fit.ACCEPTED : Fit.IGNORED;
}

/** What went beyond the window may be acknowledged: it must be known then. */
function noteOvershot(view: DataView, rowAt: number, isReply: boolean, end: Seq): void {
  view.setUint32(senderAt(rowAt, isReply) + SenderField.END, end, true);
  raiseBits(view, senderBitsAt(rowAt, isReply), SenderBit.UNACKNOWLEDGED);
}

function updateSender(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  segment: Segment,
  ack: Seq,
  sack: Seq,
  end: Seq,
): void {
  const sender = senderAt(rowAt, isReply);
  const bitsAt = senderBitsAt(rowAt, isReply);
  const window = segment.windowBytes(view.getUint8(bitsAt) & SenderBit.SHIFT) + seqDiff(sack, ack);
  if (view.getUint32(sender + SenderField.MAX_WINDOW, true) < window) {
    view.setUint32(sender + SenderField.MAX_WINDOW, window, true);
  }
  if (seqGt(end, seqAt(view, sender + SenderField.END))) {
    view.setUint32(sender + SenderField.END, end, true);
    raiseBits(view, bitsAt, SenderBit.UNACKNOWLEDGED);
  }
  if (!segment.has(TcpFlag.ACK)) return;
  const lastAt = rowAt + FlowField.LAST_BITS;
  const isFirst = (view.getUint8(lastAt) & ackedBit(isReply)) === 0;
  if (!isFirst && !seqGt(ack, seqAt(view, sender + SenderField.MAX_ACK))) return;
  view.setUint32(sender + SenderField.MAX_ACK, ack, true);
  raiseBits(view, lastAt, ackedBit(isReply));
}

function updateReceiver(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  segment: Segment,
  ack: Seq,
  sack: Seq,
  end: Seq,
): void {
  const receiver = senderAt(rowAt, !isReply);
  const maxEnd = seqAt(view, senderAt(rowAt, isReply) + SenderField.MAX_END);
  const receiverWindow = view.getUint32(receiver + SenderField.MAX_WINDOW, true);
  if (receiverWindow !== 0 && seqGt(end, maxEnd)) {
    view.setUint32(receiver + SenderField.MAX_WINDOW, receiverWindow + seqDiff(end, maxEnd), true);
  }
  const shift = view.getUint8(senderBitsAt(rowAt, isReply)) & SenderBit.SHIFT;
  const window = segment.windowBytes(shift);
  const allowed = seqAdd(sack, window);
  if (!seqLt(allowed, seqAt(view, receiver + SenderField.MAX_END))) {
    // One byte may always be sent, to probe a closed window.
    view.setUint32(receiver + SenderField.MAX_END, seqAdd(allowed, window === 0 ? 1 : 0), true);
  }
  if (ack === seqAt(view, receiver + SenderField.END)) {
    lowerBits(view, senderBitsAt(rowAt, !isReply), SenderBit.UNACKNOWLEDGED);
  }
}
