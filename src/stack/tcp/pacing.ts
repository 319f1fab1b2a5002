/**
 * Pacing: what the window allows leaves spread over the round trip, and not as one burst that the
 * queue of the bottleneck would have to take.
 *
 * A flow has a rate and the instant PACE_AT at which its next bytes may leave. When that has come
 * it may send a quantum, a millisecond's worth, and what it missed since. When it has not, the flow
 * waits in a timer wheel of its own, with ticks of one millisecond; the loop of the gateway sleeps
 * in whole milliseconds too, so that a flow wakes up to two of them late, and sends then what two
 * or three of them are worth. Rates come out exactly; bursts are of one to three milliseconds.
 *
 * The first window is not paced, as in Linux: nothing is known of the path. Nor are paths so short
 * that the acknowledgments themselves come more often than the timer.
 */
import { LARGE_SLAB_PAYLOAD_BYTES, MEDIUM_SLAB_PAYLOAD_BYTES } from '../slab-pool.ts';
import type { Instant } from '../time.ts';
import { lossWindow } from './black-hole.ts';
import { CongestionControl } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { TcbFlag } from './tcb.ts';

/** Of the wheel in which flows wait. */
export const PACE_TICK_US = 1000;

/** What is sent at once is worth so much; two packets at least, four superpackets at most. */
const QUANTUM_US = 1000;
const QUANTUM_LEAST_PACKETS = 2;
const QUANTUM_MOST_BYTES = 4 * 65_535;
/** What was missed for longer is not made up for: the tick, the loop's, and a turn of the loop. */
const LATE_MOST_US = 4000;

/**
 * Round trips of CUBIC that are paced, smoothed: of five quanta and more. On shorter paths
 * acknowledgments space the packets better than the timer can.
 */
const PACED_RTT_US = 5000;
/** RFC 6928 lets so many packets leave at once: a window that is no larger is not paced. */
const PACED_WINDOW_PACKETS = 10;
/** As Linux: net.ipv4.tcp_pacing_ss_ratio and tcp_pacing_ca_ratio. */
const SLOW_START_GAIN = 2;
const AVOIDANCE_GAIN = 1.2;

/** @param bytesPerSecond  more than 0 */
export function setPacingRate(tcp: TcpContext, bytesPerSecond: number): void {
  tcp.bbr.pacingRate = bytesPerSecond;
  tcp.tcb.raise(TcbFlag.PACED);
}

/** The rate of CUBIC, after an acknowledgment: tcp_update_pacing_rate of Linux. */
export function paceByWindow(tcp: TcpContext): void {
  const tcb = tcp.tcb;
  const { srttUs, cwnd } = tcb;
  const isShort = srttUs < PACED_RTT_US || cwnd <= PACED_WINDOW_PACKETS * tcb.mss;
  if (isShort || tcb.congestion !== CongestionControl.CUBIC) {
    if (tcb.has(TcbFlag.PACED)) tcb.lower(TcbFlag.PACED);
    return;
  }
  const gain = cwnd < tcb.ssthresh / 2 ? SLOW_START_GAIN : AVOIDANCE_GAIN;
  setPacingRate(tcp, (gain * Math.max(cwnd, tcb.inFlight) * 1e6) / srttUs);
}

/** Bytes of a quantum at the flow's rate. */
export const quantumBytes = (tcp: TcpContext): number =>
  Math.min(
    QUANTUM_MOST_BYTES,
    Math.max(QUANTUM_LEAST_PACKETS * lossWindow(tcp.tcb), (tcp.bbr.pacingRate * QUANTUM_US) / 1e6),
  );

/**
 * Bytes that a flow with PACED may send now, two packets at least; 0 when it has to wait, and then
 * it will be woken.
 */
export function paceRoom(tcp: TcpContext, now: Instant): number {
  const { tcb, bbr } = tcp;
  const lateUs = now - bbr.paceAt;
  if (lateUs < 0) {
    tcb.raise(TcbFlag.PACE_WAIT);
    tcp.paceWheel.schedule(tcb.row, bbr.paceAt);
    return 0;
  }
  const missed = (bbr.pacingRate * Math.min(lateUs, LATE_MOST_US)) / 1e6;
  return Math.min(QUANTUM_MOST_BYTES, Math.floor(quantumBytes(tcp) + missed));
}

/** The same for new data: a large slab is not taken for what a medium one half holds. */
export function paceSlabRoom(tcp: TcpContext, now: Instant): number {
  const room = paceRoom(tcp, now);
  return room > MEDIUM_SLAB_PAYLOAD_BYTES && room < LARGE_SLAB_PAYLOAD_BYTES / 2
    ? MEDIUM_SLAB_PAYLOAD_BYTES
    : room;
}

/** A flow with PACED sends bytes. */
export function notePaced(tcp: TcpContext, bytes: number, now: Instant): void {
  const { bbr } = tcp;
  const from = Math.max(bbr.paceAt, now - LATE_MOST_US);
  bbr.paceAt = (from + (bytes * 1e6) / bbr.pacingRate) as Instant;
}
