/**
 * Congestion control: how large the window is. Pure arithmetic on the TCB; when to send is the
 * matter of output.ts and of recovery.
 *
 * Two controls share one interface: CUBIC (cubic.ts), and NewReno, which is RFC 5681 with byte
 * counting (RFC 3465). Both begin with slow start, which HyStart++ ends (hystart.ts). Peers without
 * SACK are served by NewReno always, with the recovery of RFC 6582 that is its name. A third, BBR
 * (bbr.ts), sets the window from its model after each acknowledgment; no cut of here touches it.
 */
import type { Instant } from '../time.ts';
import type { CongestionName } from '../verdict.ts';
import { seqAdd, seqLt } from '../wire/seq.ts';
import { lossWindow } from './black-hole.ts';
import { cutCubic, endEpoch, growCubic, undoCubic } from './cubic.ts';
import { SSTHRESH_UNKNOWN, slowStartGrowth, startHystart } from './hystart.ts';
import { type Tcb, TcbFlag } from './tcb.ts';

export const CongestionControl = { NEW_RENO: 0, CUBIC: 1, BBR: 2 } as const;
export type CongestionControl = (typeof CongestionControl)[keyof typeof CongestionControl];

const BY_NAME = {
  cubic: CongestionControl.CUBIC,
  newreno: CongestionControl.NEW_RENO,
  bbr: CongestionControl.BBR,
} as const satisfies Record<CongestionName, CongestionControl>;

/** RFC 6928 §2: ten segments. */
const INITIAL_WINDOW_SEGMENTS = 10;
/** RFC 2861 §3: what of the window before an idle time is kept as the threshold after it. */
const IDLE_THRESHOLD_SHARE = 0.75;

/** The flow's own control, instead of the configured one; before the first byte is sent. */
export function chooseCongestion(tcb: Tcb, name: CongestionName): void {
  tcb.congestion = BY_NAME[name];
  tcb.raise(TcbFlag.CONGESTION_CHOSEN);
}

/** What the flow begins with. NewReno needs no SACK; for all others that is a condition. */
export function congestionOf(tcb: Tcb, configured: CongestionName = 'cubic'): CongestionControl {
  if (!tcb.has(TcbFlag.SACK)) return CongestionControl.NEW_RENO;
  return tcb.has(TcbFlag.CONGESTION_CHOSEN)
    ? (tcb.congestion as CongestionControl)
    : BY_NAME[configured];
}

export function startCongestion(tcb: Tcb, control: CongestionControl): void {
  tcb.congestion = control;
  // BBR has no answer to ECE, so its packets do not ask for marks.
  if (control === CongestionControl.BBR) tcb.lower(TcbFlag.ECN_SETUP);
  tcb.cwnd = INITIAL_WINDOW_SEGMENTS * tcb.mss;
  tcb.ssthresh = SSTHRESH_UNKNOWN;
  tcb.cwndCredit = 0;
  startHystart(tcb);
}

/**
 * Opens the window for `acked` new bytes, RFC 5681 §3.1. A window that the sender does not fill is
 * not opened further (RFC 7661 §4.3 in its simplest form).
 *
 * @param flight  bytes in flight before the acknowledgment
 * @param limit   bytes that this flow may ever have in flight
 */
export function growWindow(
  tcb: Tcb,
  acked: number,
  flight: number,
  limit: number,
  now: Instant,
): void {
  if (tcb.cwnd >= limit) return;
  if (flight + 2 * tcb.mss < tcb.cwnd / 2) {
    endEpoch(tcb);
  } else if (tcb.cwnd < tcb.ssthresh) {
    // One ACK may tell of a flight that had arrived long before; slow start ends where it should.
    tcb.cwnd = Math.min(limit, tcb.ssthresh, tcb.cwnd + slowStartGrowth(tcb, acked));
  } else if (tcb.congestion === CongestionControl.CUBIC) {
    tcb.cwnd = Math.min(limit, growCubic(tcb, acked, now));
  } else {
    growReno(tcb, acked, limit);
  }
}

/** One segment for each window that was acknowledged. */
function growReno(tcb: Tcb, acked: number, limit: number): void {
  const credit = tcb.cwndCredit + acked;
  if (credit >= tcb.cwnd) {
    tcb.cwndCredit = credit - tcb.cwnd;
    tcb.cwnd = Math.min(limit, tcb.cwnd + tcb.mss);
  } else {
    tcb.cwndCredit = credit;
  }
}

/**
 * RFC 5681 §3.1, equation 4; RFC 9438 §4.6. A window that ECE has cut is not cut once more by a
 * loss of the same round trip (RFC 3168 §6.1.2).
 *
 * @param flight  bytes that were in flight
 * @returns       the threshold, unbounded below
 */
function cutThreshold(tcb: Tcb, flight: number): number {
  if (tcb.congestion === CongestionControl.BBR) return tcb.ssthresh;
  if (tcb.sendsEct) {
    if (seqLt(tcb.sndUna, tcb.cutEnd)) {
      // Nothing that undo could restore.
      tcb.cubicMaxBefore = tcb.cubicMax;
      return tcb.ssthresh;
    }
    tcb.cutEnd = tcb.sndNxt;
    oweCwr(tcb);
  }
  const threshold =
    tcb.congestion === CongestionControl.CUBIC
      ? Math.floor(cutCubic(tcb, Math.min(flight, tcb.cwnd)))
      : // What limited transmit added does not count (RFC 5681 §3.2 step 2).
        Math.min(flight, tcb.cwnd) >>> 1;
  tcb.ssthresh = Math.max(threshold, 2 * tcb.mss);
  return threshold;
}

/** RFC 3168 §6.1.2: the window is reduced, "for any reason". */
function oweCwr(tcb: Tcb): void {
  if (tcb.sendsEct) tcb.raise(TcbFlag.CWR_OWED);
}

/**
 * ECE: a packet of the last window met congestion, and nothing was lost. The cut is that of a loss,
 * as RFC 3168 §6.1.2 and RFC 9438 §4.6 have it, and at once; the milder one of RFC 8511 is an
 * experiment. Only here the window may fall to one segment.
 */
export function cutOnEcho(tcb: Tcb): void {
  tcb.cwnd = Math.max(tcb.mss, cutThreshold(tcb, tcb.cwnd));
  tcb.cwndCredit = 0;
}

/** A loss that SACK showed: the threshold comes down, the window follows by PRR. */
export function cutOnLoss(tcb: Tcb, flight: number): void {
  cutThreshold(tcb, flight);
}

/** A timeout with a scoreboard. @param isNew  the flight was not cut for already */
export function cutOnTimeout(tcb: Tcb, isNew: boolean): void {
  if (isNew) cutThreshold(tcb, tcb.flightSize);
  oweCwr(tcb);
  tcb.cwndCredit = 0;
}

/** RFC 6937 §3: at the end of a recovery the window is the threshold; BBR has none. */
export function endRecovery(tcb: Tcb): void {
  if (tcb.congestion === CongestionControl.BBR) return;
  tcb.cwnd = tcb.ssthresh;
  tcb.cwndCredit = 0;
}

/** Nothing was lost after all: RFC 4015 §3, RFC 9438 §4.9. */
export function undoCut(tcb: Tcb): void {
  tcb.cwnd = Math.max(tcb.cwnd, tcb.priorCwnd);
  tcb.ssthresh = Math.max(tcb.ssthresh, tcb.priorSsthresh);
  if (tcb.congestion === CongestionControl.CUBIC) undoCubic(tcb);
  // The next sign of congestion counts.
  tcb.cutEnd = seqAdd(tcb.sndUna, -1);
}

/**
 * RFC 5681 §4.1: after a timeout's length of silence nothing is known of the path, and the window
 * begins small; the threshold remembers what it was. BBR keeps its model, and is paced.
 */
export function restartAfterIdle(tcb: Tcb): void {
  if (tcb.congestion === CongestionControl.BBR) return;
  const initial = INITIAL_WINDOW_SEGMENTS * tcb.mss;
  if (tcb.cwnd <= initial) return;
  tcb.ssthresh = Math.max(tcb.ssthresh, Math.floor(tcb.cwnd * IDLE_THRESHOLD_SHARE));
  tcb.cwnd = initial;
  endEpoch(tcb);
}

/** RFC 5681 §3.2 step 3: three segments have left the network. */
export function enterFastRecovery(tcb: Tcb): void {
  cutThreshold(tcb, tcb.flightSize);
  tcb.cwnd = tcb.ssthresh + 3 * tcb.mss;
}

/** RFC 5681 §3.2 step 4: one more has left. */
export function inflate(tcb: Tcb): void {
  tcb.cwnd += tcb.mss;
}

/** RFC 6582 §3.2 step 3, partial acknowledgment: deflate by what was acknowledged. */
export function deflatePartial(tcb: Tcb, acked: number): void {
  tcb.cwnd = Math.max(tcb.mss, tcb.cwnd - acked + (acked >= tcb.mss ? tcb.mss : 0));
}

/** RFC 6582 §3.2 step 3, full acknowledgment, option 1: no burst of what is left. */
export function leaveFastRecovery(tcb: Tcb): void {
  tcb.cwnd = Math.min(tcb.ssthresh, Math.max(tcb.flightSize, tcb.mss) + tcb.mss);
  tcb.cwndCredit = 0;
}

/** RFC 5681 §3.1: the loss window after a timeout; one loss halves the threshold once. */
export function collapse(tcb: Tcb): void {
  if (!tcb.has(TcbFlag.LOSS_RECOVERY)) cutThreshold(tcb, tcb.flightSize);
  oweCwr(tcb);
  tcb.cwnd = lossWindow(tcb);
  tcb.cwndCredit = 0;
}
