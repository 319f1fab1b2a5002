import type { Instant } from '../time.ts';
import type { TcpContext } from './context.ts';
import { restartRtt, sampleRttByEcho } from './rtt.ts';

/**
 * The connection begins: what a SYN or SYN-ACK of ours that timed out means for the data. A timeout
 * of three seconds (RFC 6298 §5.7), unless the timestamps tell the round trip; and a window of one
 * segment when it was lost more than once (RFC 6928 §2).
 */
export function startAfterLosses(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.probes === 0) return;
  if (tcb.probes > 1) tcb.cwnd = tcb.mss;
  restartRtt(tcp);
  sampleRttByEcho(tcp, now);
}
