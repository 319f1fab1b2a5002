/**
 * How fast the path delivers, draft-cheng-iccrg-delivery-rate-estimation: bytes that arrived
 * between the sending of a packet and its acknowledgment, by the longer of the times in which they
 * were sent and acknowledged. A slab, which is one transmission, remembers what was known when it
 * was sent; each acknowledgment takes its sample from the newest slab of which it tells.
 *
 * What was sent again counts as delivered, but gives no sample: nobody knows which of its
 * transmissions arrived.
 */
import { SlabField } from '../slab-pool.ts';
import type { Instant } from '../time.ts';
import type { TcpContext } from './context.ts';
import { TcbFlag } from './tcb.ts';

/** One object is filled anew for each acknowledgment: RS of the draft, §3.3. */
export class RateSample {
  /** Bytes were delivered that were sent once; what follows is of the newest of them. */
  hasState = false;
  sentAt = 0 as Instant;
  firstSentAt = 0 as Instant;
  priorDelivered = 0;
  priorDeliveredAt = 0 as Instant;
  /** Bytes in flight when it had been sent. */
  txInFlight = 0;
  /** The owner had less to send than the path would have taken. */
  isAppLimited = false;
  /** The measurement, in bytes per second; 0 when there is none. */
  bytesPerSecond = 0;

  clear(): void {
    this.hasState = false;
    this.bytesPerSecond = 0;
  }
}

/** A slab is being sent for the first time, §3.2. @param wasIdle  nothing else is in flight */
export function noteSendState(
  tcp: TcpContext,
  slabAt: number,
  wasIdle: boolean,
  now: Instant,
): void {
  const { tcb, bbr } = tcp;
  const view = tcp.arena.view;
  if (wasIdle) bbr.firstSentAt = bbr.deliveredAt = now;
  view.setUint32(slabAt + SlabField.DELIVERED, bbr.delivered, true);
  view.setUint32(slabAt + SlabField.TX_IN_FLIGHT, tcb.inFlight, true);
  view.setFloat64(slabAt + SlabField.DELIVERED_AT, bbr.deliveredAt, true);
  view.setFloat64(slabAt + SlabField.FIRST_SENT_AT, bbr.firstSentAt, true);
  view.setUint32(slabAt + SlabField.IS_APP_LIMITED, bbr.appLimitedUntil === 0 ? 0 : 1, true);
}

/** Bytes of the slab were delivered that were sent once. */
export function takeSendState(tcp: TcpContext, slabAt: number): void {
  const { rate } = tcp;
  const view = tcp.arena.view;
  const sentAt = view.getFloat64(slabAt + SlabField.SENT_AT, true) as Instant;
  if (rate.hasState && sentAt < rate.sentAt) return;
  rate.hasState = true;
  rate.sentAt = sentAt;
  rate.firstSentAt = view.getFloat64(slabAt + SlabField.FIRST_SENT_AT, true) as Instant;
  rate.priorDelivered = view.getUint32(slabAt + SlabField.DELIVERED, true);
  rate.priorDeliveredAt = view.getFloat64(slabAt + SlabField.DELIVERED_AT, true) as Instant;
  rate.txInFlight = view.getUint32(slabAt + SlabField.TX_IN_FLIGHT, true);
  rate.isAppLimited = view.getUint32(slabAt + SlabField.IS_APP_LIMITED, true) !== 0;
}

/** Makes the sample of the acknowledgment in hand, whose news were taken. §3.3 */
export function sampleRate(tcp: TcpContext, now: Instant): void {
  const { bbr, rate, news } = tcp;
  if (news.delivered === 0) return;
  const delivered = (bbr.delivered + news.delivered) >>> 0;
  bbr.delivered = delivered;
  bbr.deliveredAt = now;
  const limit = bbr.appLimitedUntil;
  if (limit !== 0 && ((delivered - limit) | 0) > 0) bbr.appLimitedUntil = 0;
  if (!rate.hasState) return;
  bbr.firstSentAt = rate.sentAt;
  const sendUs = rate.sentAt - rate.firstSentAt;
  const ackUs = now - rate.priorDeliveredAt;
  const intervalUs = Math.max(sendUs, ackUs);
  // The least round trip of §3.3 is a bound for what was sent again; the rest cannot be faster.
  if (intervalUs <= 0) return;
  rate.bytesPerSecond = (((delivered - rate.priorDelivered) >>> 0) * 1e6) / intervalUs;
}

/** §3.4: what is sent from now on measures the owner, until what is in flight has arrived. */
export function markAppLimited(tcp: TcpContext): void {
  const { tcb, bbr } = tcp;
  bbr.appLimitedUntil = (bbr.delivered + tcb.inFlight) >>> 0 || 1;
}

/**
 * The owner had room before this acknowledgment, and did not use it. An owner that found no room,
 * because of the window or the pacer, waits to be told of it.
 *
 * @param flightBefore  bytes in flight before the acknowledgment
 */
export const isOwnerIdle = (tcp: TcpContext, flightBefore: number): boolean =>
  !tcp.tcb.has(TcbFlag.SEND_WANTED) &&
  tcp.tcb.lostBytes === 0 &&
  tcp.tcb.cwnd - flightBefore >= tcp.tcb.mss;
