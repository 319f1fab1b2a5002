/**
 * CUBIC, RFC 9438. After a cut the window follows a cubic curve of time:
 *
 *   W_cubic(t) = C (t - K)^3 + W_max
 *
 * It climbs fast while the window that was lost (W_max) is far, is flat around it, and then looks
 * for more. Growth depends on time and not on round trips, so that long paths are used. Where Reno
 * would be faster, on short paths, the window is Reno's.
 *
 * All windows are in bytes; the RFC counts segments. An epoch begins with the first growth after a
 * cut, or after a time in which the window was not used, which does not count (§5.8).
 */
import type { Instant } from '../time.ts';
import type { Tcb } from './tcb.ts';

/** RFC 9438 §5: segments per second cubed; and what is left of the window after a loss (§4.6). */
const C = 0.4;
const BETA = 0.7;
/** §4.3: so that Reno with this cut has the throughput of Reno with a half. */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
/** §4.2: the window grows by half in a round trip at most. */
const TARGET_FACTOR_MAX = 1.5;

/** Remembers the window that proved too large, §4.7. @returns the threshold, unbounded below */
export function cutCubic(tcb: Tcb, window: number): number {
  tcb.cubicMaxBefore = tcb.cubicMax;
  // Fast convergence: a window smaller than the last one leaves room for a newcomer.
  tcb.cubicMax = window < tcb.cubicMax ? (window * (1 + BETA)) / 2 : window;
  tcb.cubicPrior = window;
  endEpoch(tcb);
  return window * BETA;
}

/** The cut was a mistake, §4.9. */
export function undoCubic(tcb: Tcb): void {
  tcb.cubicMax = tcb.cubicMaxBefore;
  endEpoch(tcb);
}

/** Time that now passes does not count. */
export function endEpoch(tcb: Tcb): void {
  tcb.cubicEpochAt = 0 as Instant;
}

/** Congestion avoidance, §4.2 to §4.5. @returns the window after `acked` more bytes */
export function growCubic(tcb: Tcb, acked: number, now: Instant): number {
  const { cwnd, mss } = tcb;
  if (tcb.cubicEpochAt === 0) startEpoch(tcb, now);
  tcb.cubicReno += ((tcb.cubicReno < tcb.cubicPrior ? ALPHA : 1) * mss * acked) / cwnd;
  const seconds = (now - tcb.cubicEpochAt) / 1e6;
  let next: number;
  if (windowAt(tcb, seconds) < tcb.cubicReno) {
    next = Math.max(cwnd, tcb.cubicReno);
  } else {
    const ahead = windowAt(tcb, seconds + tcb.srttUs / 1e6);
    const target = Math.min(Math.max(ahead, cwnd), cwnd * TARGET_FACTOR_MAX);
    next = cwnd + tcb.cubicCarry + (acked * (target - cwnd)) / cwnd;
  }
  tcb.cubicCarry = next - Math.floor(next);
  return Math.floor(next);
}

function startEpoch(tcb: Tcb, now: Instant): void {
  const { cwnd, mss } = tcb;
  tcb.cubicEpochAt = now;
  tcb.cubicReno = cwnd;
  tcb.cubicCarry = 0;
  if (cwnd < tcb.cubicMax) {
    tcb.cubicK = Math.cbrt((tcb.cubicMax - cwnd) / mss / C);
  } else {
    tcb.cubicK = 0;
    tcb.cubicMax = cwnd;
  }
}

/** W_cubic in bytes. */
const windowAt = (tcb: Tcb, seconds: number): number =>
  C * (seconds - tcb.cubicK) ** 3 * tcb.mss + tcb.cubicMax;
