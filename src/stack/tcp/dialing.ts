/** A connection that the stack opens, until it stands, and how it is given up. */
import { CloseReason } from '../close-reason.ts';
import { ClosedBy } from '../flow-row.ts';
import type { Instant } from '../time.ts';
import { endFlow } from './close.ts';
import type { TcpContext } from './context.ts';
import { sendReset } from './output.ts';
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
