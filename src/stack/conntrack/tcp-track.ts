/**
 * What a segment does to a TCP flow that is watched: the order of nf_conntrack_tcp_packet in the
 * kernel's nf_conntrack_proto_tcp.c.
 *
 * A segment that fits no edge of tcp-states.ts, and yet may be right, passes without one; LAST_*
 * remembers it. When the answer shows that both ends know better, the flow follows them:
 *
 *   a SYN in a connection, and its SYN-ACK   it is a new connection
 *   an ACK in SYN_SENT, and the reset for it the upstream still had an old one (RFC 5961 §4)
 */
import { CloseReason } from '../close-reason.ts';
import { ClosedBy, FlowField, FlowPhase, TrackBit, TrackState } from '../flow-row.ts';
import type { Segment } from '../tcp/segment.ts';
import { type Duration, type Instant, millis } from '../time.ts';
import { type Seq, seqLt } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import type { TrackSettings } from './context.ts';
import { IGNORE, INVALID, TcpEvent, tcpEvent, tcpStep } from './tcp-states.ts';
import {
  ackedBit,
  beginSenderAt,
  Fit,
  fitSegment,
  forgetSender,
  LastBit,
  lowerBits,
  pickUp,
  raiseBits,
  SenderBit,
  SenderField,
  senderAt,
  senderBitsAt,
} from './tcp-window.ts';
import { tcpTimeout } from './timeouts.ts';

/** What becomes of a segment. */
export const Tracked = {
  PASS: 0,
  INVALID: 1,
  /** It passes, and nothing is left to watch. */
  LAST: 2,
} as const;
export type Tracked = (typeof Tracked)[keyof typeof Tracked];

/** What a reset does. */
const Reset = {
  /** It closes, when it fits the windows. */
  CLOSES: 0,
  /** It closes; what is known of the windows says nothing any more. */
  CLOSES_UNSEEN: 1,
  /** It may draw a challenge ACK: the state stays. */
  CHALLENGED: 2,
  INVALID: 3,
} as const;
type Reset = (typeof Reset)[keyof typeof Reset];

/** LAST_EVENT: the event, and of a SYN that was let through the options that count. */
const EVENT_BITS = 0x07;
const SCALE_SHIFT = 3;
const SCALE_BITS = 0x0f;
const NO_SCALE = 15;
const SACK_BIT = 0x80;

/** Whether a segment with these flags opens a new connection between the ends of one that ended. */
export function reopens(view: DataView, rowAt: number, isReply: boolean, flags: number): boolean {
  const state = view.getUint8(rowAt + FlowField.TRACK_STATE) as TrackState;
  if (state !== TrackState.TIME_WAIT && state !== TrackState.CLOSE) return false;
  return tcpStep(isReply, tcpEvent(flags), state) === TrackState.SYN_SENT;
}

/** Takes one segment of the flow whose row lies at `rowAt`. */
export function trackSegment(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  segment: Segment,
  settings: TrackSettings,
  now: Instant,
): Tracked {
  const event = tcpEvent(segment.flags);
  let from = view.getUint8(rowAt + FlowField.TRACK_STATE) as TrackState;
  let to = tcpStep(isReply, event, from);
  if (to === INVALID) return Tracked.INVALID;
  if (from === TrackState.NONE && to === TrackState.ESTABLISHED) {
    if (!settings.tcpLoose) return Tracked.INVALID;
    pickUp(view, rowAt, segment);
    raiseBits(view, rowAt + FlowField.TRACK_BITS, TrackBit.LIBERAL);
  }
  const isOld = from === TrackState.TIME_WAIT || from === TrackState.CLOSE;
  if (to === IGNORE || (to === TrackState.SYN_SENT && isOld)) {
    if (!answersSyn(view, rowAt, isReply, event, segment)) {
      noteIgnored(view, rowAt, isReply, event, from, segment);
      return Tracked.PASS;
    }
    followEnds(view, rowAt, isReply);
    from = TrackState.SYN_SENT;
    to = TrackState.SYN_RECV;
  }
  if (to === TrackState.TIME_WAIT && isChallenge(view, rowAt, isReply, event, from)) {
    lowerBits(view, rowAt + FlowField.LAST_BITS, LastBit.CHALLENGED);
    return Tracked.PASS;
  }
  let isChecked = true;
  if (event === TcpEvent.RST) {
    const reset = examineReset(view, rowAt, isReply, from, segment);
    if (reset === Reset.INVALID) return Tracked.INVALID;
    if (reset === Reset.CHALLENGED) to = from;
    isChecked = reset !== Reset.CLOSES_UNSEEN;
  } else if (isReply && event === TcpEvent.ACK && to === TrackState.SYN_RECV) {
    if (hasLast(view, rowAt, LastBit.SIMULTANEOUS)) to = TrackState.ESTABLISHED;
  }
  if (isChecked) {
    const isLiberal = settings.tcpLiberal || hasBit(view, rowAt, TrackBit.LIBERAL);
    const fit = fitSegment(view, rowAt, isReply, from, segment, isLiberal);
    if (fit === Fit.INVALID) return Tracked.INVALID;
    if (fit === Fit.IGNORED) return Tracked.PASS;
  }
  noteLast(view, rowAt, isReply, event, segment);
  enter(view, rowAt, isReply, from, to as TrackState);
  return refresh(view, rowAt, isReply, event, from, segment, settings, now);
}

const hasBit = (view: DataView, rowAt: number, bit: number): boolean =>
  (view.getUint8(rowAt + FlowField.TRACK_BITS) & bit) !== 0;

const hasLast = (view: DataView, rowAt: number, bit: number): boolean =>
  (view.getUint8(rowAt + FlowField.LAST_BITS) & bit) !== 0;

const lastEvent = (view: DataView, rowAt: number): number =>
  view.getUint8(rowAt + FlowField.LAST_EVENT) & EVENT_BITS;

const lastSeq = (view: DataView, rowAt: number): Seq =>
  view.getUint32(rowAt + FlowField.LAST_SEQ, true) as Seq;

/** Whether a SYN-ACK answers a SYN of the other end that was let through. */
function answersSyn(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  event: TcpEvent,
  segment: Segment,
): boolean {
  return (
    event === TcpEvent.SYN_ACK &&
    lastEvent(view, rowAt) === TcpEvent.SYN &&
    hasLast(view, rowAt, LastBit.REPLY) !== isReply &&
    segment.ack === lastSeq(view, rowAt)
  );
}

/** Both ends are in a connection that began with the SYN that was let through. */
function followEnds(view: DataView, rowAt: number, isReply: boolean): void {
  const packed = view.getUint8(rowAt + FlowField.LAST_EVENT);
  const scale = (packed >>> SCALE_SHIFT) & SCALE_BITS;
  let bits = scale === NO_SCALE ? 0 : SenderBit.HAS_SCALE | scale;
  if ((packed & SACK_BIT) !== 0) bits |= SenderBit.SACK_PERMITTED;
  const window = view.getUint16(rowAt + FlowField.LAST_WINDOW, true);
  forgetSender(view, rowAt, isReply);
  forgetSender(view, rowAt, !isReply);
  beginSenderAt(view, rowAt, !isReply, lastSeq(view, rowAt), window, bits);
  view.setUint8(rowAt + FlowField.CLOSE_REASON, CloseReason.NONE);
  view.setUint8(rowAt + FlowField.CLOSED_BY, ClosedBy.NONE);
  lowerBits(view, rowAt + FlowField.TRACK_BITS, TrackBit.LIBERAL);
  lowerBits(view, rowAt + FlowField.LAST_BITS, LastBit.CHALLENGED | LastBit.SIMULTANEOUS);
}

/** Writes down a segment that passes without being examined. */
function noteIgnored(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  event: TcpEvent,
  state: TrackState,
  segment: Segment,
): void {
  const lastAt = rowAt + FlowField.LAST_BITS;
  setDirection(view, rowAt, isReply);
  let packed: number = event;
  let last = segment.end;
  if (event === TcpEvent.SYN) {
    const { windowScale, sackPermitted } = segment.options;
    packed |= (windowScale < 0 ? NO_SCALE : windowScale) << SCALE_SHIFT;
    if (sackPermitted) packed |= SACK_BIT;
    view.setUint16(rowAt + FlowField.LAST_WINDOW, segment.window, true);
    if (state === TrackState.LAST_ACK) raiseBits(view, lastAt, LastBit.CHALLENGED);
  } else if (event === TcpEvent.ACK) {
    // A reset for it begins here.
    last = segment.ack;
  }
  view.setUint8(rowAt + FlowField.LAST_EVENT, packed);
  view.setUint32(rowAt + FlowField.LAST_SEQ, last, true);
}

/** The ACK of RFC 5961 §4 for a SYN that was let through is none of the last FIN. */
const isChallenge = (
  view: DataView,
  rowAt: number,
  isReply: boolean,
  event: TcpEvent,
  state: TrackState,
): boolean =>
  state === TrackState.LAST_ACK &&
  event === TcpEvent.ACK &&
  lastEvent(view, rowAt) === TcpEvent.SYN &&
  hasLast(view, rowAt, LastBit.REPLY) !== isReply &&
  hasLast(view, rowAt, LastBit.CHALLENGED);

/**
 * A reset ends a flow for everybody, so more is asked of it than that it fits the windows: between
 * two ends that have agreed on a connection, it has to begin where the other end expects it, or
 * that end will ask back (RFC 5961 §3.2).
 */
function examineReset(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  state: TrackState,
  segment: Segment,
): Reset {
  if (state >= TrackState.FIN_WAIT && state <= TrackState.CLOSE) return Reset.CLOSES_UNSEEN;
  const last = lastEvent(view, rowAt);
  const isSameEnd = hasLast(view, rowAt, LastBit.REPLY) === isReply;
  const { seq } = segment;
  if (hasLast(view, rowAt, ackedBit(!isReply)) && last !== TcpEvent.SYN) {
    const isAgreed = state === TrackState.ESTABLISHED && hasBit(view, rowAt, TrackBit.ASSURED);
    if (seq === 0 && !isAgreed) return Reset.CLOSES;
    const expectedAt = senderAt(rowAt, !isReply) + SenderField.MAX_ACK;
    const expected = view.getUint32(expectedAt, true) as Seq;
    if (seqLt(seq, expected)) return Reset.INVALID;
    if (!isAgreed || seq === expected) return Reset.CLOSES;
    // Right behind data of the same end that is still under way.
    const isTrain = last === TcpEvent.ACK && isSameEnd && seq === lastSeq(view, rowAt);
    return isTrain ? Reset.CLOSES : Reset.CHALLENGED;
  }
  // For a SYN that was let through.
  if (hasBit(view, rowAt, TrackBit.SEEN_REPLY) && last === TcpEvent.SYN) {
    if (segment.ack === lastSeq(view, rowAt)) return Reset.CLOSES_UNSEEN;
  }
  // For an ACK that was let through in answer to a SYN.
  const isAnswer = state === TrackState.SYN_SENT && last === TcpEvent.ACK && !isSameEnd;
  return isAnswer && seq === lastSeq(view, rowAt) ? Reset.CLOSES_UNSEEN : Reset.CLOSES;
}

function setDirection(view: DataView, rowAt: number, isReply: boolean): void {
  const lastAt = rowAt + FlowField.LAST_BITS;
  if (isReply) raiseBits(view, lastAt, LastBit.REPLY);
  else lowerBits(view, lastAt, LastBit.REPLY);
}

/** Writes down a segment that fitted, and whether its data came before. */
function noteLast(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  event: TcpEvent,
  segment: Segment,
): void {
  const lastAt = rowAt + FlowField.LAST_BITS;
  if (event === TcpEvent.ACK) {
    const bits = view.getUint8(lastAt);
    const isRepeated =
      segment.payloadLength > 0 &&
      ((bits & LastBit.REPLY) !== 0) === isReply &&
      segment.end === lastSeq(view, rowAt);
    if (!isRepeated) view.setUint8(lastAt, bits & ~LastBit.REPEATS);
    else if ((bits & LastBit.REPEATS) !== LastBit.REPEATS) {
      view.setUint8(lastAt, bits + LastBit.ONE_REPEAT);
    }
    view.setUint32(rowAt + FlowField.LAST_SEQ, segment.end, true);
  }
  setDirection(view, rowAt, isReply);
  view.setUint8(rowAt + FlowField.LAST_EVENT, event);
}

/** Writes the new state, and what it means for the life of the flow. */
function enter(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  from: TrackState,
  to: TrackState,
): void {
  view.setUint8(rowAt + FlowField.TRACK_STATE, to);
  if (from === to) return;
  switch (to) {
    case TrackState.SYN_SENT2:
      raiseBits(view, rowAt + FlowField.LAST_BITS, LastBit.SIMULTANEOUS);
      return;
    case TrackState.FIN_WAIT:
      raiseBits(view, senderBitsAt(rowAt, isReply), SenderBit.CLOSED_FIRST);
      setPhase(view, rowAt, FlowPhase.CLOSING);
      return;
    case TrackState.TIME_WAIT: {
      const bits = view.getUint8(senderBitsAt(rowAt, true));
      const isUpstream = (bits & SenderBit.CLOSED_FIRST) !== 0;
      noteEnd(view, rowAt, CloseReason.EOF, isUpstream ? ClosedBy.UPSTREAM : ClosedBy.CLIENT);
      setPhase(view, rowAt, FlowPhase.TIME_WAIT);
      return;
    }
    case TrackState.CLOSE:
      if (isReply) noteEnd(view, rowAt, CloseReason.UPSTREAM_RESET, ClosedBy.UPSTREAM);
      else noteEnd(view, rowAt, CloseReason.CLIENT_RESET, ClosedBy.CLIENT);
      setPhase(view, rowAt, FlowPhase.CLOSING);
      return;
    case TrackState.SYN_RECV:
      setPhase(view, rowAt, FlowPhase.OPEN);
  }
}

function setPhase(view: DataView, rowAt: number, phase: FlowPhase): void {
  view.setUint8(rowAt + FlowField.PHASE, phase);
}

/** The first reason counts; it is told when the row is taken out. */
function noteEnd(view: DataView, rowAt: number, reason: CloseReason, by: ClosedBy): void {
  if (view.getUint8(rowAt + FlowField.CLOSE_REASON) !== CloseReason.NONE) return;
  view.setUint8(rowAt + FlowField.CLOSE_REASON, reason);
  view.setUint8(rowAt + FlowField.CLOSED_BY, by);
}

/** How long the flow lives from here on, and whether it is assured. */
function refresh(
  view: DataView,
  rowAt: number,
  isReply: boolean,
  event: TcpEvent,
  from: TrackState,
  segment: Segment,
  settings: TrackSettings,
  now: Instant,
): Tracked {
  const bitsAt = rowAt + FlowField.TRACK_BITS;
  const to = view.getUint8(rowAt + FlowField.TRACK_STATE) as TrackState;
  const hasReply = hasBit(view, rowAt, TrackBit.SEEN_REPLY);
  if (isReply) raiseBits(view, bitsAt, TrackBit.SEEN_REPLY);
  if (!hasReply) {
    // Refused: there is no connection to wait for the end of.
    if (event === TcpEvent.RST) return Tracked.LAST;
    // A client that asks for ever must not keep its ports by that.
    if (event === TcpEvent.SYN && from === TrackState.SYN_SENT) return Tracked.PASS;
  } else if (
    to === TrackState.ESTABLISHED &&
    (from === TrackState.SYN_RECV || from === TrackState.ESTABLISHED)
  ) {
    raiseBits(view, bitsAt, TrackBit.ASSURED);
  }
  const { timeouts } = settings;
  let timeout = openTimeout(view, rowAt, to, settings);
  if (timeout > timeouts.tcpUnacknowledged && isStuck(view, rowAt, to, hasReply, segment)) {
    timeout = timeouts.tcpUnacknowledged;
  }
  view.setFloat64(rowAt + FlowField.EXPIRES_AT, now + timeout, true);
  return Tracked.PASS;
}

/** The verdict may have said how long an open connection may be silent. */
function openTimeout(
  view: DataView,
  rowAt: number,
  state: TrackState,
  settings: TrackSettings,
): Duration {
  const idleMs = view.getUint32(rowAt + FlowField.IDLE_TIMEOUT_MS, true);
  if (state === TrackState.ESTABLISHED && idleMs > 0) return millis(idleMs);
  return tcpTimeout(settings.timeouts, state);
}

/** Nothing moves, or only one of the two ends was heard. */
function isStuck(
  view: DataView,
  rowAt: number,
  state: TrackState,
  hasReply: boolean,
  segment: Segment,
): boolean {
  const senders =
    view.getUint8(rowAt + FlowField.SCALE_ORIGINAL) | view.getUint8(rowAt + FlowField.SCALE_REPLY);
  return (
    (senders & SenderBit.UNACKNOWLEDGED) !== 0 ||
    (view.getUint8(rowAt + FlowField.LAST_BITS) & LastBit.REPEATS) === LastBit.REPEATS ||
    (segment.window === 0 && !segment.has(TcpFlag.RST)) ||
    (state === TrackState.ESTABLISHED && !hasReply)
  );
}
