/** Path MTU discovery, RFC 1191 and RFC 8201: a flow whose segments are too long for its path. */
import { Counter } from '../counters.ts';
import type { Instant } from '../time.ts';
import { limitSuspicion, lossWindow } from './black-hole.ts';
import type { TcpContext } from './context.ts';
import { leastMtu, packetHeaders } from './packet-headers.ts';
import { goBack } from './retransmit.ts';
import { recoverOnPathMtu } from './sack-recovery.ts';
import { TcpState } from './states.ts';
import { TcbFlag } from './tcb.ts';

/**
 * Makes the current flow's segments fit packets of `mtu` bytes, and sends what is in flight again:
 * no part of it that was too long has arrived, and the congestion window is not to blame for that
 * (RFC 1191 §6.4). A larger MTU than before changes nothing.
 *
 * @param mtu  0 of a router from before RFC 1191
 */
export function lowerPathMtu(tcp: TcpContext, mtu: number, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.state === TcpState.SYN_RECEIVED) return;
  const pathMtu = Math.max(mtu, leastMtu(tcp));
  const mss = pathMtu - packetHeaders(tcp);
  if (mss < lossWindow(tcb)) tcp.pathMtus.lower(tcb.flowAt, pathMtu, now);
  limitSuspicion(tcb, mss);
  if (mss >= tcb.mss) return;
  tcb.mss = mss;
  tcp.counters.add(Counter.PATH_MTU_LOWERED);
  // As after a timeout, but at the speed that was reached.
  if (tcb.has(TcbFlag.SACK)) recoverOnPathMtu(tcp, now);
  else goBack(tcp, now);
}

/** The flow begins: an earlier one to the same client may have found the path narrow. */
export function startPathMtu(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  const known = tcp.pathMtus.find(tcb.flowAt, now);
  if (known > 0) tcb.mss = Math.min(tcb.mss, known - packetHeaders(tcp));
}
