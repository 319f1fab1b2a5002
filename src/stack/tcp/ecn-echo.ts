/** The sender's side of ECN, RFC 3168 §6.1.2: ECE on an acknowledgment. */
import { Counter } from '../counters.ts';
import { seqAdd, seqGt } from '../wire/seq.ts';
import { TcpFlag } from '../wire/tcp.ts';
import { cutOnEcho } from './congestion.ts';
import type { TcpContext } from './context.ts';
import { RECOVERING, TcbFlag } from './tcb.ts';

/** The acknowledgment in hand says that the network is congested: it opens no window. */
export const hasEcho = ({ tcb, segment }: TcpContext): boolean =>
  segment.has(TcpFlag.ECE) && tcb.sendsEct;

/** Marks are counted from here on: what was sent before cannot have been marked. */
export function startEcho({ tcb }: TcpContext): void {
  tcb.cutEnd = tcb.sndNxt;
}

/**
 * Cuts the window at most once in a round trip, whether ECE or a loss was the reason. The peer
 * echoes until CWR reaches it, so that the round ends behind `cutEnd` and not with it.
 */
export function obeyEcho(tcp: TcpContext): void {
  const tcb = tcp.tcb;
  if (!tcb.sendsEct) return;
  const isNewRound = seqGt(tcb.sndUna, tcb.cutEnd);
  if (!hasEcho(tcp)) {
    tcb.ecnPause = 0;
    // It stays close behind, or it would seem to lie ahead after 2 GiB.
    if (isNewRound) tcb.cutEnd = seqAdd(tcb.sndUna, -1);
    return;
  }
  // Whatever was not lost after all: the path is congested.
  tcb.lower(TcbFlag.UNDOABLE);
  if (!isNewRound || tcb.has(RECOVERING)) return;
  // A window of one segment cannot be halved: the timer has to space what is sent.
  if (tcb.cwnd <= tcb.mss) tcb.ecnPause = 1;
  tcp.counters.add(Counter.ECN_WINDOW_CUTS);
  cutOnEcho(tcb);
}
