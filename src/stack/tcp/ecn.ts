/**
 * Explicit Congestion Notification, RFC 3168, on the side that accepts connections: routers mark
 * packets instead of dropping them, the receiver of a mark says so, the sender slows down.
 *
 *   client                                   this side
 *   SYN, ECE, CWR   ──────────────────────→  ECN_SETUP: the client asked; ECN: it may have it
 *                   ←──────────────────────  SYN-ACK, ECE
 *   data in a packet with CE  ────────────→  ECE_OWED: ECE stands on all that is sent,
 *   data, CWR       ──────────────────────→  until here
 *                   ←──────────────────────  new data in a packet with ECT(0)
 *   ACK, ECE        ──────────────────────→  the window is cut; CWR_OWED: on the next new data
 *
 * A path may lose packets with these flags (§6.1.1.1). A SYN that comes again without them takes
 * ECN back. A SYN-ACK that is lost again and again is sent without ECE, and then we send no ECT;
 * the client may have seen an earlier one, so that CE is still answered.
 */
import { Counter } from '../counters.ts';
import { Ecn } from '../wire/ecn.ts';
import { TcpFlag } from '../wire/tcp.ts';
import type { TcpContext } from './context.ts';
import type { Segment } from './segment.ts';
import { type Tcb, TcbFlag } from './tcb.ts';

/** SYN-ACKs that ask for ECN: the first, and the first repetition. */
const SETUP_SYN_ACKS = 2;
/** As Linux on a mark: the sender's window may be a packet or two by now. */
const QUICK_ACKS = 2;

/** §6.1.1: an ECN-setup SYN. */
export const isEcnSetup = (segment: Segment): boolean =>
  segment.has(TcpFlag.ECE) && segment.has(TcpFlag.CWR);

/** The SYN in `segment` asks for ECN, and such connections have it now. */
export const canHaveEcn = ({ settings, segment }: TcpContext): boolean =>
  settings.ecn !== false && isEcnSetup(segment);

/** The SYN in `segment` comes again; without the flags, because they do not get through. */
export function noteRepeatedSyn({ tcb, segment }: TcpContext): void {
  if (!isEcnSetup(segment)) tcb.lower(TcbFlag.ECN_SETUP | TcbFlag.ECN);
}

/** A SYN-ACK is being sent, the first time or again. @returns ECE or nothing */
export function setupAnswer(tcb: Tcb): number {
  tcb.synAcks += 1;
  if (!tcb.sendsEct) return 0;
  if (tcb.synAcks <= SETUP_SYN_ACKS) return TcpFlag.ECE;
  tcb.lower(TcbFlag.ECN_SETUP);
  return 0;
}

/** New data is being sent. @returns CWR where it is the first since the window was cut, §6.1.2 */
export function takeCwr(tcb: Tcb): number {
  if (!tcb.has(TcbFlag.CWR_OWED)) return 0;
  tcb.lower(TcbFlag.CWR_OWED);
  return TcpFlag.CWR;
}

/**
 * The receiver's side, §6.1.3: what the packet says around text that lies in the window. CWR comes
 * first: a mark on the same packet is newer than the cut that CWR tells of.
 *
 * @returns true when the acknowledgment should not wait
 */
export function noteMark({ tcb, segment, counters }: TcpContext): boolean {
  if (!tcb.has(TcbFlag.ECN)) return false;
  const isReduced = segment.has(TcpFlag.CWR);
  if (isReduced) tcb.lower(TcbFlag.ECE_OWED);
  if (segment.ecn === Ecn.CE) {
    counters.add(Counter.ECN_MARKED);
    if (!tcb.has(TcbFlag.ECE_OWED)) tcb.quickAcks = Math.max(tcb.quickAcks, QUICK_ACKS);
    tcb.raise(TcbFlag.ECE_OWED);
  }
  return isReduced;
}
