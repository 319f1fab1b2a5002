/** A connection that the stack opens, until it stands: how it is given up, how it begins. */
import { CloseReason } from '../close-reason.ts';
import { ClosedBy } from '../flow-row.ts';
import type { Instant } from '../time.ts';
import { endFlow } from './close.ts';
import type { TcpContext } from './context.ts';
import { sendReset } from './output.ts';
import { restartRtt, sampleRttByEcho } from './rtt.ts';
import { TcpState } from './states.ts';
import { type Tcb, TcbFlag } from './tcb.ts';

/** Our SYN is out, and its connection does not stand yet. */
export const isDialing = (tcb: Tcb): boolean =>
  tcb.state === TcpState.SYN_SENT ||
  (tcb.state === TcpState.SYN_RECEIVED && tcb.has(TcbFlag.OPENED));

/** Nobody answered in time: by what ICMP said meanwhile (RFC 1122 §4.2.3.9), or in silence. */
export function giveUpDial(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  // Where the SYNs crossed there is a peer that knows of us.
  if (tcb.state === TcpState.SYN_RECEIVED) sendReset(tcp, now);
  const reason =
    tcb.dialError === CloseReason.NONE ? CloseReason.DIAL_TIMEOUT : CloseReason.DIAL_UNREACHABLE;
  endFlow(tcp, reason, ClosedBy.UPSTREAM, now);
}

/**
 * What a SYN that timed out means for the data: a timeout of three seconds (RFC 6298 §5.7), unless
 * the timestamps tell the round trip; and a window of one segment when it was lost more than once
 * (RFC 6928 §2).
 */
export function startAfterDial(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.probes === 0) return;
  if (tcb.probes > 1) tcb.cwnd = tcb.mss;
  restartRtt(tcp);
  sampleRttByEcho(tcp, now);
}
