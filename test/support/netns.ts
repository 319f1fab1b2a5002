/**
 * The network of an end-to-end test: three namespaces of its own, and whatever runs in them.
 *
 *   client                      gw                         server
 *     c0 10.88.1.2 ─────────── g0 10.88.1.1
 *        fd88:1::2                fd88:1::1
 *                              up0 10.99.0.1 ──────────── dn0 10.99.0.2
 *                                  fd99::1                    fd99::2
 *
 * Every address of 198.18.0.0/15 and 2001:db8::/32 is the server's own, so that a gateway in gw
 * reaches any original destination with an ordinary socket. The client has no route to them: the
 * test gives it one, through a TUN that it moves there or through c0.
 */
import { existsSync, readdirSync } from 'node:fs';
import type { Subprocess } from 'bun';
import { isAbandoned, SCRATCH_PREFIX } from './scratch.ts';

/** Where services are, and where nothing answers, for each family. */
export interface Family {
  readonly name: 'IPv4' | 'IPv6';
  readonly version: 4 | 6;
  /** Address of the server, among the many it has. */
  readonly server: string;
  /** The gateway has no route to it: its dial fails at once. */
  readonly noRoute: string;
  /** The server's side answers with ICMP host or address unreachable. */
  readonly unreachable: string;
  /** Whatever is sent there is lost. */
  readonly blackHole: string;
  /** An address of the client on the TUN. */
  readonly client: string;
  /** A local address of the gateway. */
  readonly gateway: string;
  /** One hop behind the server's namespace, once `addFar` was called. */
  readonly far: string;
  /** What a NAT in gw gives to clients for a source. */
  readonly pool: string;
}

export const IPV4: Family = {
  name: 'IPv4',
  version: 4,
  server: '198.18.0.10',
  noRoute: '198.18.66.1',
  unreachable: '198.18.67.1',
  blackHole: '198.18.99.1',
  client: '10.88.0.2',
  gateway: '10.88.0.1',
  far: '198.19.0.10',
  pool: '10.97.0.1',
};

export const IPV6: Family = {
  name: 'IPv6',
  version: 6,
  server: '2001:db8::10',
  noRoute: '2001:db8:66::1',
  unreachable: '2001:db8:67::1',
  blackHole: '2001:db8:99::1',
  client: 'fd88::2',
  gateway: 'fd88::1',
  far: '2001:db8:f::10',
  pool: 'fd97::1',
};

export const FAMILIES: readonly Family[] = [IPV4, IPV6];

/** `10.0.0.1:80`, `[fd00::1]:80` */
export const hostPort = (ip: string, port: number): string =>
  ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;

/** Room for thousands of connections between two addresses, reused without waiting. */
const SYSCTLS = [
  'net.ipv4.ip_local_port_range=1025 65000',
  'net.ipv4.tcp_tw_reuse=1',
  'net.core.somaxconn=16384',
  'net.ipv4.tcp_max_syn_backlog=16384',
  'net.ipv4.conf.all.rp_filter=0',
  'net.ipv4.conf.default.rp_filter=0',
  'net.ipv6.conf.default.accept_dad=0',
  // An error of a neighbour's refusal must reach each of many scans.
  'net.ipv4.icmp_ratelimit=0',
  'net.ipv6.icmp.ratelimit=0',
];

let topologies = 0;

export class Topology implements AsyncDisposable {
  readonly client: string;
  readonly gw: string;
  readonly server: string;
  readonly far: string;
  readonly #processes: Subprocess[] = [];

  private constructor(prefix: string) {
    this.client = `${prefix}-client`;
    this.gw = `${prefix}-gw`;
    this.server = `${prefix}-server`;
    this.far = `${prefix}-far`;
  }

  static create(): Topology {
    sweepAbandoned();
    const topology = new Topology(`${SCRATCH_PREFIX}${topologies++}`);
    try {
      topology.#build();
    } catch (error) {
      topology.#deleteNamespaces();
      throw error;
    }
    return topology;
  }

  /** Runs a command in a namespace. @throws Error with its output when it fails */
  exec(namespace: string, ...argv: string[]): string {
    return run('ip', 'netns', 'exec', namespace, ...argv);
  }

  /** `ip` in a namespace. */
  ip(namespace: string, command: string): string {
    return run('ip', '-n', namespace, ...command.split(' '));
  }

  /** Loads rules in a namespace. */
  nft(namespace: string, rules: string): void {
    run('ip', 'netns', 'exec', namespace, 'nft', ...rules.trim().split(/\s+/));
  }

  /** Runs a command in a namespace and waits for it, while the test goes on. */
  async run(
    namespace: string,
    ...argv: string[]
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const child = this.#own(
      Bun.spawn(['ip', 'netns', 'exec', namespace, ...argv], { stdout: 'pipe', stderr: 'pipe' }),
    );
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, stdout, stderr };
  }

  /** Starts a command that talks over its standard streams; it ends with the topology. */
  spawnPiped(namespace: string, argv: readonly string[]): Subprocess<'pipe', 'pipe', 'inherit'> {
    return this.#own(
      Bun.spawn(['ip', 'netns', 'exec', namespace, ...argv], {
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'inherit',
      }),
    );
  }

  /** Starts a command whose output is read by the caller; it ends with the topology. */
  spawn(
    namespace: string,
    argv: readonly string[],
    options: { cwd?: string; env?: Record<string, string> } = {},
  ): Subprocess<'ignore', 'pipe', 'pipe'> {
    return this.#own(
      Bun.spawn(['ip', 'netns', 'exec', namespace, ...argv], {
        ...options,
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
      }),
    );
  }

  /** Gives a device of gw to the client, as its way to everywhere. */
  moveToClient(device: string, mtu: number): void {
    this.ip(this.gw, `link set ${device} netns ${this.client}`);
    this.ip(this.client, `addr add ${IPV4.client}/24 dev ${device}`);
    this.ip(this.client, `addr add ${IPV6.client}/64 dev ${device} nodad`);
    this.ip(this.client, `link set ${device} up mtu ${mtu}`);
    this.ip(this.client, `route add default dev ${device}`);
    this.ip(this.client, `-6 route add default dev ${device}`);
  }

  /** Sends what the client has for anybody through the kernel of gw. */
  routeThroughKernel(): void {
    this.ip(this.client, 'route add default via 10.88.1.1');
    this.ip(this.client, '-6 route add default via fd88:1::1');
    this.exec(this.gw, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    this.exec(this.gw, 'sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
  }

  /**
   * Hangs a namespace behind the server's, which then is a router on the way to it.
   *
   *   server                           far
   *     f0 10.77.0.1 ──────────── r0 10.77.0.2, lo 198.19.0.10
   *        fd77::1                    fd77::2,     2001:db8:f::10
   */
  addFar(): void {
    this.#add(this.far);
    this.#join(this.server, 'f0', this.far, 'r0', '10.77.0', 'fd77::');
    this.ip(this.far, `addr add ${IPV4.far}/32 dev lo`);
    this.ip(this.far, `addr add ${IPV6.far}/128 dev lo nodad`);
    this.ip(this.far, 'route add default via 10.77.0.1');
    this.ip(this.far, '-6 route add default via fd77::1');
    // Table local is asked first, and says that the whole range is here.
    this.ip(this.server, `route add ${IPV4.far} via 10.77.0.2 table local`);
    this.ip(this.server, `-6 route add ${IPV6.far} via fd77::2 table local`);
  }

  /**
   * Loses `percent` of what a namespace sends and receives on a device, segment by segment: the
   * device is told to take no superpackets from its own kernel.
   */
  lose(namespace: string, device: string, percent: number): void {
    this.ip(namespace, `link set ${device} gso_max_segs 1`);
    const drop = `numgen random mod 100 < ${percent} counter drop`;
    this.nft(namespace, 'add table inet loss');
    this.nft(namespace, 'add chain inet loss in { type filter hook input priority 0 ; }');
    this.nft(namespace, 'add chain inet loss out { type filter hook output priority 0 ; }');
    this.nft(namespace, `add rule inet loss in iifname ${device} meta l4proto tcp ${drop}`);
    this.nft(namespace, `add rule inet loss out oifname ${device} meta l4proto tcp ${drop}`);
  }

  /** How many packets `lose` dropped in a namespace. */
  lost(namespace: string): number {
    const rules = this.exec(namespace, 'nft', 'list', 'table', 'inet', 'loss');
    return [...rules.matchAll(/counter packets (\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
  }

  /** Processes that run in a namespace. */
  pids(namespace: string): number[] {
    return pidsIn(namespace);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL');
    await Promise.all(this.#processes.map((child) => child.exited));
    this.#deleteNamespaces();
  }

  #own<P extends Subprocess>(child: P): P {
    this.#processes.push(child);
    return child;
  }

  #build(): void {
    for (const namespace of [this.client, this.gw, this.server]) this.#add(namespace);
    this.#join(this.gw, 'g0', this.client, 'c0', '10.88.1', 'fd88:1::');
    this.#join(this.gw, 'up0', this.server, 'dn0', '10.99.0', 'fd99::');
    this.ip(this.gw, 'route add default via 10.99.0.2');
    this.ip(this.gw, '-6 route add default via fd99::2');
    this.ip(this.gw, `route add unreachable ${IPV4.noRoute}`);
    this.ip(this.gw, `-6 route add unreachable ${IPV6.noRoute}`);
    this.ip(this.server, 'route add default via 10.99.0.1');
    this.ip(this.server, '-6 route add default via fd99::1');
    this.ip(this.server, 'route add local 198.18.0.0/15 dev lo');
    this.ip(this.server, '-6 route add local 2001:db8::/32 dev lo');
    // IPv4 binds to an address of such a route, IPv6 only to one of an interface.
    this.exec(this.server, 'sysctl', '-qw', 'net.ipv6.ip_nonlocal_bind=1');
    this.exec(this.server, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    this.exec(this.server, 'sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
    // Table local is asked first.
    this.ip(this.server, `route add unreachable ${IPV4.unreachable} table local`);
    this.ip(this.server, `-6 route add unreachable ${IPV6.unreachable} table local`);
    this.nft(this.server, 'add table inet holes');
    this.nft(this.server, 'add chain inet holes in { type filter hook input priority 0 ; }');
    this.nft(this.server, `add rule inet holes in ip daddr ${IPV4.blackHole} drop`);
    this.nft(this.server, `add rule inet holes in ip6 daddr ${IPV6.blackHole} drop`);
  }

  #add(namespace: string): void {
    run('ip', 'netns', 'add', namespace);
    this.ip(namespace, 'link set lo up');
    for (const setting of SYSCTLS) this.exec(namespace, 'sysctl', '-qw', setting);
  }

  /** A veth pair: `.1` and `::1` on the first side, `.2` and `::2` on the other. */
  #join(a: string, aDevice: string, b: string, bDevice: string, net4: string, net6: string): void {
    this.ip(a, `link add ${aDevice} type veth peer name ${bDevice} netns ${b}`);
    for (const [namespace, device, host] of [
      [a, aDevice, 1],
      [b, bDevice, 2],
    ] as const) {
      this.ip(namespace, `addr add ${net4}.${host}/24 dev ${device}`);
      this.ip(namespace, `addr add ${net6}${host}/64 dev ${device} nodad`);
      this.ip(namespace, `link set ${device} up`);
    }
  }

  #deleteNamespaces(): void {
    for (const namespace of [this.client, this.gw, this.server, this.far]) {
      deleteNamespace(namespace);
    }
  }
}

/** Runs a command. @throws Error with its output when it fails */
function run(...argv: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(argv);
  if (exitCode !== 0) {
    throw new Error(
      `${argv.join(' ')}: exit ${exitCode}: ${stderr.toString()}${stdout.toString()}`,
    );
  }
  return stdout.toString();
}

function pidsIn(namespace: string): number[] {
  const { stdout } = Bun.spawnSync(['ip', 'netns', 'pids', namespace]);
  return stdout.toString().split('\n').filter(Boolean).map(Number);
}

/** Kills what runs in a namespace and deletes it, if it is there. */
function deleteNamespace(namespace: string): void {
  if (!existsSync(`/run/netns/${namespace}`)) return;
  for (const pid of pidsIn(namespace)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended meanwhile.
    }
  }
  Bun.spawnSync(['ip', 'netns', 'del', namespace]);
}

/** Removes what a test process that was killed has left behind. */
function sweepAbandoned(): void {
  if (!existsSync('/run/netns')) return;
  for (const namespace of readdirSync('/run/netns').filter(isAbandoned)) deleteNamespace(namespace);
}
