/** What a packet of the current flow carries besides its payload, and the least that it may be. */
import { FlowField } from '../flow-row.ts';
import { IPV4_HEADER_BYTES } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_MIN_MTU } from '../wire/ipv6.ts';
import { TCP_HEADER_BYTES } from '../wire/tcp.ts';
import { TIMESTAMPS_BYTES } from '../wire/tcp-options.ts';
import type { TcpContext } from './context.ts';
import { TcbFlag } from './tcb.ts';

/**
 * What every host takes (RFC 1122 §3.3.2). A smaller MTU of IPv4 is allowed, but hardly ever true,
 * and a forged one makes a connection slow; Linux has 552 (net.ipv4.route.min_pmtu).
 */
export const IPV4_MIN_MTU = 576;

export const isIpv4 = ({ arena, tcb }: TcpContext): boolean =>
  arena.view.getUint8(tcb.flowAt + FlowField.FAMILY) === 4;

/** The smallest MTU that a message about a path is believed to mean. */
export const leastMtu = (tcp: TcpContext): number => (isIpv4(tcp) ? IPV4_MIN_MTU : IPV6_MIN_MTU);

/** Bytes in front of the payload of a full-sized segment. */
export function packetHeaders(tcp: TcpContext): number {
  const options = tcp.tcb.has(TcbFlag.TIMESTAMPS) ? TIMESTAMPS_BYTES : 0;
  return (isIpv4(tcp) ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES) + TCP_HEADER_BYTES + options;
}
