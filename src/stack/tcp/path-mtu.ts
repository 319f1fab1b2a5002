/** Path MTU discovery, RFC 1191 and RFC 8201: a flow whose segments are too long for its path. */
import { Counter } from '../counters.ts';
import { FlowField } from '../flow-row.ts';
import type { Instant } from '../time.ts';
import { IPV4_HEADER_BYTES } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_MIN_MTU } from '../wire/ipv6.ts';
import { TCP_HEADER_BYTES } from '../wire/tcp.ts';
import { TIMESTAMPS_BYTES } from '../wire/tcp-options.ts';
import type { TcpContext } from './context.ts';
import { retransmitLost } from './retransmit.ts';
import { armRetransmission } from './rtt.ts';
import { recoverOnPathMtu } from './sack-recovery.ts';
import { TcpState } from './states.ts';
import { TcbFlag } from './tcb.ts';

/**
 * What every host takes (RFC 1122 §3.3.2). A smaller MTU of IPv4 is allowed, but hardly ever true,
 * and a forged one makes a connection slow; Linux has 552 (net.ipv4.route.min_pmtu).
 */
const IPV4_MIN_MTU = 576;

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
  const isIpv4 = tcp.arena.view.getUint8(tcb.flowAt + FlowField.FAMILY) === 4;
  const floor = isIpv4 ? IPV4_MIN_MTU : IPV6_MIN_MTU;
  const ipHeader = isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
  const options = tcb.has(TcbFlag.TIMESTAMPS) ? TIMESTAMPS_BYTES : 0;
  const mss = Math.max(mtu, floor) - ipHeader - TCP_HEADER_BYTES - options;
  if (mss >= tcb.mss) return;
  tcb.mss = mss;
  tcp.counters.add(Counter.PATH_MTU_LOWERED);
  resendFlight(tcp, now);
}

/** As after a timeout, but at the speed that was reached. */
function resendFlight(tcp: TcpContext, now: Instant): void {
  const tcb = tcp.tcb;
  if (tcb.has(TcbFlag.SACK)) {
    recoverOnPathMtu(tcp, now);
    return;
  }
  tcb.lower(TcbFlag.FAST_RECOVERY);
  tcb.raise(TcbFlag.LOSS_RECOVERY);
  tcb.dupAcks = 0;
  tcb.recover = tcb.sndNxt;
  tcb.rtxNxt = tcb.sndUna;
  retransmitLost(tcp, now);
  armRetransmission(tcp, now);
}
