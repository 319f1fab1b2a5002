import { type Tcb, TcbFlag } from './tcb.ts';

/*
 * NewReno: RFC 5681 with byte counting (RFC 3465), RFC 6582 for recovery. Pure arithmetic on the
 * TCB; when to send is the matter of output.ts and retransmit.ts.
 */

/** RFC 6928 §2: ten segments. */
const INITIAL_WINDOW_SEGMENTS = 10;
const SSTHRESH_UNKNOWN = 0x7fffffff;

export function startCongestion(tcb: Tcb): void {
  tcb.cwnd = INITIAL_WINDOW_SEGMENTS * tcb.mss;
  tcb.ssthresh = SSTHRESH_UNKNOWN;
  tcb.cwndCredit = 0;
}

/**
 * Opens the window for `acked` new bytes, RFC 5681 §3.1. A window that the sender does not fill is
 * not opened further (RFC 7661 §4.3 in its simplest form).
 *
 * @param flight  bytes in flight before the acknowledgment
 * @param limit   bytes that this flow may ever have in flight
 */
export function growWindow(tcb: Tcb, acked: number, flight: number, limit: number): void {
  if (tcb.cwnd >= limit || flight + 2 * tcb.mss < tcb.cwnd / 2) return;
  if (tcb.cwnd < tcb.ssthresh) {
    tcb.cwnd = Math.min(limit, tcb.cwnd + acked);
    return;
  }
  const credit = tcb.cwndCredit + acked;
  if (credit >= tcb.cwnd) {
    tcb.cwndCredit = credit - tcb.cwnd;
    tcb.cwnd = Math.min(limit, tcb.cwnd + tcb.mss);
  } else {
    tcb.cwndCredit = credit;
  }
}

/** RFC 5681 §3.1, equation 4. */
function halveThreshold(tcb: Tcb): void {
  tcb.ssthresh = Math.max(tcb.flightSize >>> 1, 2 * tcb.mss);
}

/** RFC 5681 §3.2 step 3: three segments have left the network. */
export function enterFastRecovery(tcb: Tcb): void {
  halveThreshold(tcb);
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

/** A loss that SACK showed: the threshold comes down, the window follows by PRR. */
export function cutOnLoss(tcb: Tcb): void {
  halveThreshold(tcb);
}

/** A timeout with a scoreboard. @param isNew  the flight was not cut for already */
export function cutOnTimeout(tcb: Tcb, isNew: boolean): void {
  if (isNew) halveThreshold(tcb);
  tcb.cwndCredit = 0;
}

/** RFC 6937 §3: at the end of a recovery the window is the threshold. */
export function endRecovery(tcb: Tcb): void {
  tcb.cwnd = tcb.ssthresh;
  tcb.cwndCredit = 0;
}

/** Nothing was lost after all: RFC 4015 §3. */
export function undoCut(tcb: Tcb): void {
  tcb.cwnd = Math.max(tcb.cwnd, tcb.priorCwnd);
  tcb.ssthresh = Math.max(tcb.ssthresh, tcb.priorSsthresh);
}

/** RFC 5681 §3.1: the loss window after a timeout; one loss halves the threshold once. */
export function collapse(tcb: Tcb): void {
  if (!tcb.has(TcbFlag.LOSS_RECOVERY)) halveThreshold(tcb);
  tcb.cwnd = tcb.mss;
  tcb.cwndCredit = 0;
}
