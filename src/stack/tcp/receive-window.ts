/**
 * The receive window: how much the peer may send.
 *
 * It starts small and grows with the path, as Linux does it (dynamic right-sizing, Fisk and Feng
 * 2001): what the owner takes in one round trip is what the path and the owner can move. Four times
 * that is promised, so that a sender that doubles its window each round trip never meets ours: a
 * slow owner or a short path keeps the first window, and its memory. The right edge never moves
 * left (RFC 9293 §3.8.6).
 */
import type { Instant } from '../time.ts';
import { asSeq, seqAdd, seqDiff } from '../wire/seq.ts';
import type { TcpContext } from './context.ts';
import { type Tcb, TcbFlag } from './tcb.ts';

/** The window that every flow starts with: more than two round trips of slow start need. */
const RECEIVE_BUFFER_BYTES = 128 * 1024;
/** Ten gigabits on a path of 3 ms, or 300 Mbit/s on one of 100 ms. */
const RECEIVE_BUFFER_MAX_BYTES = 4 * 1024 * 1024;
/** Window for what was delivered in a round trip. */
const DELIVERED_FACTOR = 4;
/** Shift of the windows we offer: 65,535 << 7 is 8 MiB. RFC 7323 §2.3. */
export const RECEIVE_SCALE = 7;
/** What a flow may still be promised while the slab budget runs low. */
const LEAN_BUFFER_BYTES = 32 * 1024;
/** A round trip that was never measured: the SYN-ACK was sent twice. */
const ROUND_TRIP_UNKNOWN_US = 100_000;

/** The window of a connection that begins. */
export function startWindow(tcb: Tcb): void {
  tcb.rcvBuffer = RECEIVE_BUFFER_BYTES;
}

/**
 * The window of a connection that is still to be accepted, and will never read: zero, for good. A
 * client behind a SYN cookie has been promised one already, and that is kept.
 */
export function shutWindow(tcb: Tcb): void {
  tcb.rcvBuffer = 0;
}

/** Text arrived and the owner has been asked to take it. */
export function tuneWindow(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.rcvBuffer === 0 || tcb.rcvBuffer >= RECEIVE_BUFFER_MAX_BYTES) return;
  const roundTripUs = tcb.srttUs === 0 ? ROUND_TRIP_UNKNOWN_US : tcb.srttUs;
  if (tcb.tuneAt !== 0 && now - tcb.tuneAt < roundTripUs) return;
  const takenUpTo = seqAdd(tcb.rcvNxt, -tcb.backlogBytes);
  const taken = tcb.tuneAt === 0 ? 0 : seqDiff(takenUpTo, asSeq(tcb.tuneSeq));
  tcb.tuneAt = now;
  tcb.tuneSeq = takenUpTo;
  if (taken <= tcb.tuneBest || tcp.slabs.isLean) return;
  tcb.tuneBest = taken;
  const wanted = Math.min(taken * DELIVERED_FACTOR, RECEIVE_BUFFER_MAX_BYTES);
  if (wanted > tcb.rcvBuffer) tcb.rcvBuffer = wanted;
}

/**
 * Moves the right edge of the receive window as far as memory allows, and returns the value for
 * the header. The edge moves in steps worth a segment (RFC 9293 §3.8.6.2.2) and never left.
 */
export function advanceWindow(tcp: TcpContext): number {
  const tcb = tcp.tcb;
  const scale = tcb.has(TcbFlag.SCALING) ? RECEIVE_SCALE : 0;
  const wanted = Math.min(receiveSpace(tcp), 0xffff << scale);
  if (wanted - tcb.rcvWnd >= Math.min(tcb.rcvMss, receiveBuffer(tcp) >>> 1)) {
    tcb.rcvEdge = seqAdd(tcb.rcvNxt, wanted);
  }
  // Rounded up to a step of the scale where memory allows. Where it does not, the client sees the
  // edge less than a step further left (RFC 7323 §2.4), and is not refused what it was promised.
  const field = Math.ceil(tcb.rcvWnd / (1 << scale));
  if (field << scale > wanted) return tcb.rcvWnd >>> scale;
  tcb.rcvEdge = seqAdd(tcb.rcvNxt, field << scale);
  return field;
}

/** True when the window could be opened by enough to be worth a segment of its own. */
export function isWindowWorthTelling(tcp: TcpContext): boolean {
  const widest = tcp.tcb.has(TcbFlag.SCALING) ? RECEIVE_BUFFER_MAX_BYTES : 0xffff;
  const opening = Math.min(receiveSpace(tcp), widest) - tcp.tcb.rcvWnd;
  return opening >= Math.min(receiveBuffer(tcp) >>> 2, LEAN_BUFFER_BYTES >>> 1);
}

/** Bytes that a flow may hold for an owner that does not take them. */
export const receiveBuffer = (tcp: TcpContext): number =>
  Math.min(tcp.tcb.rcvBuffer, tcp.settings.slabBytesPerFlow);

/** Bytes that the peer may send now. */
export function receiveSpace(tcp: TcpContext): number {
  const tcb = tcp.tcb;
  const space = Math.max(0, receiveBuffer(tcp) - tcb.backlogBytes);
  if (!tcp.slabs.isLean) return space;
  return Math.min(space, Math.max(0, LEAN_BUFFER_BYTES - tcb.backlogBytes));
}
