/** Flows that live while the MTU of the device changes. */
import type { Instant } from '../time.ts';
import { TIMESTAMPS_BYTES } from '../wire/tcp-options.ts';
import { limitSuspicion } from './black-hole.ts';
import type { TcpContext } from './context.ts';
import { packetHeaders } from './packet-headers.ts';
import { TcpState } from './states.ts';
import { TcbFlag } from './tcb.ts';

/**
 * Makes the current flow's segments as long as device, client and path allow, be that more or less
 * than before. What is in flight has left with the old MTU, and is cut anew only if it was lost.
 */
export function fitDeviceMtu(tcp: TcpContext, now: Instant): void {
  const { tcb, egress, pathMtus } = tcp;
  // Nothing is known of the client yet, or nothing is sent any more.
  if (tcb.state === TcpState.SYN_SENT || tcb.state === TcpState.CLOSED || tcb.synMss === 0) return;
  const known = pathMtus.find(tcb.flowAt, now);
  const { mtu } = egress.capabilities;
  const room = (known > 0 ? Math.min(known, mtu) : mtu) - packetHeaders(tcp);
  const options = tcb.has(TcbFlag.TIMESTAMPS) ? TIMESTAMPS_BYTES : 0;
  const most = Math.min(room, tcb.synMss - options);
  limitSuspicion(tcb, most);
  // A flow that looks for what its path carries finds that out by itself.
  if (tcb.fullMss === 0 || tcb.mss > most) tcb.mss = most;
}
