/**
 * Three network namespaces, the same for every peer.
 *
 *     …-client                     …-gateway                        …-server
 *     load generator --- tun0 ---[ netstack | host sockets ]--- up0/dn0 --- iperf3, nginx, echo
 *               \___ veth c0/g0: peers in the kernel only (routed, redirect) ___/
 *                                 and those that rewrite packets on a TUN in `gateway`
 *
 * A gateway starts in `gateway` and makes its TUN device there; the bench then moves the device
 * into `client`. A TUN goes on over its fd after that. So there is no hop of the kernel between the
 * client's TCP and the gateway but the TUN itself, and the gateway reaches the original destination
 * with an ordinary socket: no mark, no bound device, no address mapping. Every address of
 * 198.18.0.0/15 is local to `server`.
 */

import { existsSync } from 'node:fs';
import { must, run, waitFor } from './command.ts';

const PREFIX = 'culvert-bench-';

/** First of the addresses that the load goes to. */
export const SERVER_ADDRESS = '198.18.0.10';

/** What a peer that is routed to may give to its clients for a source. */
export const NAT_ADDRESS = '10.97.0.1';

/** Of the routes for what comes from the client. */
const CLIENT_TABLE = '88';

/** The peers' device, in the client's namespace while it is measured. */
export const TUN = 'tun0';

const NETWORK_SETTINGS = [
  'net.ipv6.conf.all.disable_ipv6=1',
  'net.ipv4.conf.all.rp_filter=0',
  'net.ipv4.conf.default.rp_filter=0',
  'net.ipv4.ip_forward=1',
  'net.ipv4.ip_local_port_range=1025 65000',
  // nginx listens there: its own connections must not take them.
  'net.ipv4.ip_local_reserved_ports=15201,17000,18080',
  'net.ipv4.tcp_tw_reuse=1',
  'net.ipv4.tcp_fin_timeout=5',
  'net.ipv4.tcp_max_syn_backlog=16384',
  'net.core.somaxconn=16384',
  // A redirect maps all servers to one address: without this a proxy behind one has 64 thousand
  // connections in two minutes, and then none.
  'net.netfilter.nf_conntrack_tcp_timeout_time_wait=1',
];

export class Topology {
  readonly client: string;
  readonly gateway: string;
  readonly server: string;

  constructor() {
    const name = `${PREFIX}${process.pid}`;
    this.client = `${name}-client`;
    this.gateway = `${name}-gateway`;
    this.server = `${name}-server`;
  }

  async up(): Promise<void> {
    await removeOrphans();
    const { client, gateway, server } = this;
    for (const namespace of [client, gateway, server]) {
      await ip(`netns add ${namespace}`);
      await ip(`-n ${namespace} link set lo up`);
      // A kernel may lack some of these: -e passes over an unknown key.
      await run(inside(namespace, ['sysctl', '-e', '-q', '-w', ...NETWORK_SETTINGS]));
    }
    await link(gateway, 'up0', '10.99.0.1/24', server, 'dn0', '10.99.0.2/24');
    await ip(`-n ${server} addr add ${SERVER_ADDRESS}/32 dev lo`);
    await ip(`-n ${server} route add local 198.18.0.0/15 dev lo`);
    await ip(`-n ${server} route add default via 10.99.0.1`);
    await ip(`-n ${gateway} route add default via 10.99.0.2`);
    await link(gateway, 'g0', '10.98.0.1/24', client, 'c0', '10.98.0.2/24');
  }

  /** Routes the client through the kernel of the gateway's namespace. */
  async routeThroughKernel(): Promise<void> {
    await ip(`-n ${this.client} route replace default via 10.98.0.1`);
  }

  /** As `routeThroughKernel`, but what the client sends, or goes to the NAT, visits the TUN. */
  async routeThroughTun(): Promise<void> {
    const { gateway } = this;
    await ip(`-n ${gateway} link set ${TUN} txqueuelen 1000 up`);
    await ip(`-n ${gateway} route replace default dev ${TUN} table ${CLIENT_TABLE}`);
    await ip(`-n ${gateway} rule add iif g0 table ${CLIENT_TABLE}`);
    await ip(`-n ${gateway} route replace ${NAT_ADDRESS} dev ${TUN}`);
    await this.routeThroughKernel();
  }

  /** Takes the TUN device out of the gateway's namespace and makes it the client's way out. */
  async moveTun(mtu: number): Promise<void> {
    const { client, gateway } = this;
    await ip(`-n ${gateway} link set ${TUN} netns ${client}`);
    await ip(`-n ${client} addr add 10.0.0.2/24 dev ${TUN}`);
    await ip(`-n ${client} link set ${TUN} mtu ${mtu} txqueuelen 1000 up`);
    await ip(`-n ${client} route replace default dev ${TUN} src 10.0.0.2`);
  }

  /** Undoes what a peer left: its device, the route to it, its nftables rules. */
  async reset(): Promise<void> {
    for (const namespace of [this.gateway, this.client]) {
      await run(['ip', '-n', namespace, 'link', 'del', TUN]);
    }
    await run(['ip', '-n', this.client, 'route', 'del', 'default']);
    await run(['ip', '-n', this.gateway, 'rule', 'del', 'table', CLIENT_TABLE]);
    await run(inside(this.gateway, ['nft', 'flush', 'ruleset']));
  }

  async pids(): Promise<Set<number>> {
    const all = [this.client, this.gateway, this.server].map(pidsOf);
    return new Set((await Promise.all(all)).flat());
  }

  async down(): Promise<void> {
    for (const namespace of [this.client, this.gateway, this.server]) await remove(namespace);
  }
}

/** The command line that runs a command in a namespace. */
export function inside(namespace: string, command: readonly string[]): string[] {
  return ['ip', 'netns', 'exec', namespace, ...command];
}

export async function pidsOf(namespace: string): Promise<number[]> {
  const { stdout } = await run(['ip', 'netns', 'pids', namespace]);
  return stdout.split('\n').filter(Boolean).map(Number);
}

export async function hasDevice(namespace: string, device: string): Promise<boolean> {
  return (await run(['ip', '-n', namespace, 'link', 'show', device])).code === 0;
}

/** Ends processes: SIGTERM, and SIGKILL to what is left after the grace, in seconds. */
export async function endProcesses(
  list: () => Promise<readonly number[]>,
  grace = 2,
): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of await list()) send(pid, signal);
    if (await waitFor(grace, async () => (await list()).length === 0)) return;
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function ip(words: string): Promise<void> {
  await must(['ip', ...words.split(' ')]);
}

async function link(
  near: string,
  nearName: string,
  nearAddress: string,
  far: string,
  farName: string,
  farAddress: string,
): Promise<void> {
  await ip(`-n ${near} link add ${nearName} type veth peer name ${farName} netns ${far}`);
  await ip(`-n ${near} addr add ${nearAddress} dev ${nearName}`);
  await ip(`-n ${far} addr add ${farAddress} dev ${farName}`);
  await ip(`-n ${near} link set ${nearName} up`);
  await ip(`-n ${far} link set ${farName} up`);
}

async function namespaces(): Promise<string[]> {
  const lines = (await run(['ip', 'netns', 'list'])).stdout.split('\n');
  return lines.map((line) => line.split(' ', 1)[0] ?? '').filter(Boolean);
}

async function remove(namespace: string): Promise<void> {
  if (!(await namespaces()).includes(namespace)) return;
  await endProcesses(() => pidsOf(namespace));
  await run(['ip', 'netns', 'del', namespace]);
}

/** Removes what a killed bench left: its process number stands in the names. */
async function removeOrphans(): Promise<void> {
  const pattern = new RegExp(`^${PREFIX}(\\d+)-`);
  for (const namespace of await namespaces()) {
    const owner = pattern.exec(namespace)?.[1];
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) await remove(namespace);
  }
}
