import type { Tcb } from './tcb.ts';

/*
 * Proportional Rate Reduction, RFC 6937 §3: over one round trip the bytes in flight come down to
 * the new threshold, one acknowledgment at a time, and never by a pause of half a round trip. Below
 * the threshold, which many losses bring about, the window follows what arrives.
 */

export function startReduction(tcb: Tcb): void {
  tcb.prrDelivered = 0;
  tcb.prrOut = 0;
  tcb.recoverFlight = Math.max(1, tcb.flightSize);
}

/**
 * Sets the window for what may be sent now: CWND = pipe + sndcnt.
 *
 * @param delivered  bytes that this acknowledgment says have arrived
 * @param isSafe     SND.UNA moved and nothing more was lost: slow start towards the threshold
 */
export function reduce(tcb: Tcb, delivered: number, isSafe: boolean): void {
  tcb.prrDelivered += delivered;
  const pipe = tcb.inFlight;
  let room: number;
  if (pipe > tcb.ssthresh) {
    room = Math.ceil((tcb.prrDelivered * tcb.ssthresh) / tcb.recoverFlight) - tcb.prrOut;
  } else {
    const limit = Math.max(tcb.prrDelivered - tcb.prrOut, delivered) + (isSafe ? tcb.mss : 0);
    room = Math.min(tcb.ssthresh - pipe, limit);
  }
  // The first segment goes out at once: it is what recovery is for.
  const least = tcb.prrOut === 0 ? tcb.mss : 0;
  tcb.cwnd = Math.max(tcb.mss, pipe + Math.max(room, least));
}
