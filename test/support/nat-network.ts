/** Ways from the client to the server through a NAT in gw: that of a gateway, or the kernel's. */
import { FAMILIES, type Family, hostPort, type Topology } from './netns.ts';

/** A port of the server that the NAT leads to `SERVICE_PORT` of `dnatTarget`, for TCP and UDP. */
export const DNAT_PORT = 7100;
export const SERVICE_PORT = 7200;

/** The neighbour of `family.server`. */
export const dnatTarget = ({ server }: Family): string => server.replace(/10$/, '20');

/** Of routes that are for the client's packets, and for those to it. */
const TUN_TABLE = 88;

/**
 * Sends what the client has for anybody through a TUN of gw and back to the kernel there. The
 * gateway itself has the addresses of its pool routed to it.
 *
 *   c0 ═══ g0 ─iif g0─► TUN ─main─► up0 ═══ dn0
 *   c0 ═══ g0 ◄─main─── TUN ◄─pool─ up0 ═══ dn0
 */
export function routeThroughTun(topology: Topology, device: string): void {
  topology.routeThroughKernel();
  // An ICMP error of this kernel about a rewritten packet comes back to it with an own address.
  topology.exec(topology.gw, 'sysctl', '-qw', `net.ipv4.conf.${device}.accept_local=1`);
  for (const family of FAMILIES) {
    const ip = (words: string) => topology.ip(topology.gw, `-${family.version} ${words}`);
    ip(`route add default dev ${device} table ${TUN_TABLE}`);
    ip(`rule add iif g0 table ${TUN_TABLE}`);
  }
}

/** Brings what servers answer to the client itself through that TUN as well. */
export function routeRepliesThroughTun(topology: Topology): void {
  const { gw } = topology;
  topology.ip(gw, `-4 rule add iif up0 to 10.88.1.0/24 table ${TUN_TABLE}`);
  topology.ip(gw, `-6 rule add iif up0 to fd88:1::/64 table ${TUN_TABLE}`);
}

/** Lets the kernel of gw do what a NAT of ours does: the pool for a source, and `DNAT_PORT`. */
export function natInKernel(topology: Topology): void {
  topology.routeThroughKernel();
  const nft = (words: string) => topology.nft(topology.gw, `add ${words}`);
  nft('table inet nat');
  nft('chain inet nat in { type nat hook prerouting priority -100 ; }');
  nft('chain inet nat out { type nat hook postrouting priority 100 ; }');
  for (const family of FAMILIES) {
    const ip = family.version === 6 ? 'ip6' : 'ip';
    const target = hostPort(dnatTarget(family), SERVICE_PORT);
    const asked = `${ip} daddr ${family.server} meta l4proto { tcp, udp } th dport ${DNAT_PORT}`;
    nft(`rule inet nat in iifname g0 ${asked} dnat ${ip} to ${target}`);
    nft(`rule inet nat out oifname up0 snat ${ip} to ${family.pool}`);
  }
}
