/**
 * HyStart++, RFC 9406: the first slow start ends before it fills the queues of the path. When the
 * least round trip of a round is longer than that of the round before, growth slows to a quarter;
 * if that was no accident for five rounds, congestion avoidance begins; if round trips become
 * shorter again, slow start goes on.
 *
 * We leave out L (§4.3), the bound on growth per ACK: with offloads on the path one ACK stands for
 * forty segments. Round trips are measured on each ACK only when the peer permits SACK; without it
 * there are too few samples, and slow start ends by a loss.
 */
import { seqGe } from '../wire/seq.ts';
import type { Tcb } from './tcb.ts';

/** RFC 9406 §4.3. */
const MIN_RTT_THRESHOLD_US = 4_000;
const MAX_RTT_THRESHOLD_US = 16_000;
const MIN_RTT_DIVISOR = 8;
const ROUND_SAMPLES = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

/** The threshold of a connection that has seen no loss. */
export const SSTHRESH_UNKNOWN = 0x7fffffff;

export function startHystart(tcb: Tcb): void {
  tcb.hystartEnd = tcb.sndNxt;
  tcb.roundMinUs = tcb.lastRoundMinUs = tcb.roundSamples = 0;
  tcb.cssBaseUs = tcb.cssRounds = 0;
}

/** An acknowledgment in the first slow start measured a round trip. */
export function noteRoundTrip(tcb: Tcb, roundTripUs: number): void {
  if (tcb.ssthresh !== SSTHRESH_UNKNOWN) return;
  if (seqGe(tcb.sndUna, tcb.hystartEnd)) startRound(tcb);
  if (tcb.ssthresh !== SSTHRESH_UNKNOWN) return;
  if (tcb.roundMinUs === 0 || roundTripUs < tcb.roundMinUs) tcb.roundMinUs = roundTripUs;
  tcb.roundSamples += 1;
  if (tcb.roundSamples < ROUND_SAMPLES) return;
  if (tcb.cssBaseUs !== 0) {
    if (tcb.roundMinUs < tcb.cssBaseUs) tcb.cssBaseUs = 0;
  } else if (tcb.lastRoundMinUs !== 0) {
    const threshold = Math.max(
      MIN_RTT_THRESHOLD_US,
      Math.min(tcb.lastRoundMinUs / MIN_RTT_DIVISOR, MAX_RTT_THRESHOLD_US),
    );
    if (tcb.roundMinUs >= tcb.lastRoundMinUs + threshold) {
      tcb.cssBaseUs = tcb.roundMinUs;
      tcb.cssRounds = 0;
    }
  }
}

function startRound(tcb: Tcb): void {
  tcb.hystartEnd = tcb.sndNxt;
  tcb.lastRoundMinUs = tcb.roundMinUs;
  tcb.roundMinUs = tcb.roundSamples = 0;
  if (tcb.cssBaseUs === 0) return;
  tcb.cssRounds += 1;
  if (tcb.cssRounds >= CSS_ROUNDS) tcb.ssthresh = tcb.cwnd;
}

/** Bytes by which `acked` bytes open the window in slow start. */
export const slowStartGrowth = (tcb: Tcb, acked: number): number =>
  tcb.ssthresh === SSTHRESH_UNKNOWN && tcb.cssBaseUs !== 0
    ? Math.ceil(acked / CSS_GROWTH_DIVISOR)
    : acked;
