/** What the supervisor takes from the kernel and lends to its children: device, memory, sockets. */
import { SystemError } from '../../ffi/errors.ts';
import { SharedMemory } from '../../ffi/memory.ts';
import { Netlink } from '../../ffi/netlink.ts';
import { closeFd, socketPair } from '../../ffi/sockets.ts';
import { TunDevice } from '../../ffi/tun-device.ts';
import { COUNTERS_BYTES } from '../../stack/counters.ts';
import { stateBytes } from '../../stack/layout.ts';
import { parseAddress } from '../../stack/wire/ip-address.ts';
import { ConfigError, type LoadedConfig } from '../config/load.ts';
import { queueLimits } from '../config/queues.ts';
import type { Config } from '../config/schema.ts';
import type { Cidr } from '../config/values.ts';
import { HEARTBEAT_BYTES } from '../messages/script-control.ts';

/** A queue of the device, and what its data plane needs besides. */
export interface QueueKernel {
  readonly tun: TunDevice;
  readonly state: SharedMemory;
  readonly counters: SharedMemory;
  /**
   * Ends of the data plane and of the script host. Both stay open here, so that a child that is
   * replaced finds the same socket.
   */
  readonly scripts: readonly [dataPlane: number, scriptHost: number];
  /** The same for what is said about claimed connections. */
  readonly conns: readonly [dataPlane: number, scriptHost: number];
  /** Ends of the data plane and of all others, which hand over frames. */
  readonly inbox: readonly [dataPlane: number, peers: number];
}

export interface Kernel extends Disposable {
  /** The device, by its first queue. */
  readonly tun: TunDevice;
  readonly queues: readonly QueueKernel[];
  /** Two, so that a new script host does not write over the signs of life of the old one. */
  readonly heartbeats: readonly [SharedMemory, SharedMemory];
  /**
   * Has what is sent to these addresses come into the device, where it does not yet. They stay
   * routed: flows may have them for long after the configuration has lost them.
   *
   * @throws SystemError  `EEXIST` where the host has a route of its own to one of them
   */
  routePool(addresses: readonly string[]): void;
}

export interface KernelOptions {
  /**
   * Told when IPv6 addresses are left out because the machine has no IPv6. Absent: that is an
   * error, as the operator asked for them.
   */
  readonly onNoIpv6?: (error: SystemError) => void;
}

/**
 * Makes and configures everything; on a failure nothing is left.
 *
 * @throws SystemError  with a hint: `EPERM` without CAP_NET_ADMIN, `EBUSY` for a name in use,
 *                      `EACCES` for an IPv6 address where IPv6 is disabled
 */
export function openKernel(config: Config, { onNoIpv6 }: KernelOptions = {}): Kernel {
  using stack = new DisposableStack();
  const tuns = openQueues(config, stack);
  const [tun] = tuns;
  configureDevice(tun, config, onNoIpv6);
  const routePool = poolRouter(tun, config.device.routes);
  routePool(config.nat.addresses);
  const bytes = stateBytes(queueLimits(config));
  const queues = tuns.map((queue) => ({
    tun: queue,
    state: stack.use(SharedMemory.create('culvert-state', bytes)),
    counters: stack.use(SharedMemory.create('culvert-counters', COUNTERS_BYTES)),
    scripts: sockets(stack),
    conns: sockets(stack),
    inbox: sockets(stack),
  }));
  const heartbeat = () => stack.use(SharedMemory.create('culvert-heartbeat', HEARTBEAT_BYTES));
  const heartbeats = [heartbeat(), heartbeat()] as const;
  const owned = stack.move();
  return {
    ...{ tun, queues, heartbeats, routePool },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** The device as often as it has queues. The first makes it, the others join under its name. */
function openQueues(
  { device: { name, offload, queues } }: Config,
  stack: DisposableStack,
): [TunDevice, ...TunDevice[]] {
  const multiQueue = queues > 1;
  const first = stack.use(TunDevice.open({ name, offload, multiQueue }));
  const open = () => stack.use(TunDevice.open({ name: first.name, offload, multiQueue }));
  return [first, ...Array.from({ length: queues - 1 }, open)];
}

function sockets(stack: DisposableStack): [number, number] {
  const pair = socketPair('seqpacket');
  stack.defer(() => {
    for (const fd of pair) closeFd(fd);
  });
  return pair;
}

/** What the data plane of a queue inherits: as `DataPlaneFd` and `peerFds` order it. */
export function dataPlaneFds({ queues }: Kernel, index: number): number[] {
  const own = queues[index]!;
  const peers = queues.filter((queue) => queue !== own);
  return [
    ...[own.tun.fd, own.state.fd, own.counters.fd],
    ...[own.scripts[0], own.conns[0], own.inbox[0]],
    ...peers.flatMap(({ state, inbox }) => [state.fd, inbox[1]]),
  ];
}

/** What the script host inherits of the queues: as `queueFds` orders it. */
export const scriptHostFds = ({ queues }: Kernel): number[] =>
  queues.flatMap(({ scripts, conns }) => [scripts[1], conns[1]]);

/**
 * Routes the pool of a configuration that comes to a running gateway.
 *
 * @throws ConfigError  when the kernel refuses a route
 */
export function routePoolOf({ config, file }: LoadedConfig, kernel: Kernel): void {
  try {
    kernel.routePool(config.nat.addresses);
  } catch (cause) {
    if (!(cause instanceof SystemError)) throw cause;
    const issue = { path: 'nat.addresses', message: cause.message };
    throw new ConfigError(file ?? 'embedded default', [issue], { cause });
  }
}

/** A host route for each address: it wins over whatever wider route leads elsewhere. */
function poolRouter(tun: TunDevice, routes: readonly Cidr[]): Kernel['routePool'] {
  const routed = new Set(routes.filter(isHost).map(({ ip }) => ip));
  return (addresses) => {
    const missing = addresses.filter((ip) => !routed.has(ip));
    if (missing.length === 0) return;
    using netlink = new Netlink();
    const index = netlink.linkIndex(tun.name);
    for (const ip of missing) {
      const bytes = bytesOf(ip);
      netlink.addRoute(index, bytes, bytes.length * 8);
      routed.add(ip);
    }
  };
}

const isHost = ({ prefixLength, family }: Cidr): boolean =>
  prefixLength === (family === 4 ? 32 : 128);

function configureDevice(
  tun: TunDevice,
  { device }: Config,
  onNoIpv6: KernelOptions['onNoIpv6'],
): void {
  using netlink = new Netlink();
  const index = netlink.linkIndex(tun.name);
  netlink.configureLink(index, { mtu: device.mtu, txQueueLength: device.txQueueLength, up: true });
  addAddresses(
    device.addresses,
    ({ ip, prefixLength }) => netlink.addAddress(index, bytesOf(ip), prefixLength),
    onNoIpv6,
  );
  for (const { ip, prefixLength } of device.routes) {
    netlink.addRoute(index, maskHostBits(bytesOf(ip), prefixLength), prefixLength);
  }
}

/** Adds all of them; without IPv6 in the kernel those of IPv4, where that is acceptable. */
export function addAddresses(
  addresses: readonly Cidr[],
  add: (address: Cidr) => void,
  onNoIpv6: KernelOptions['onNoIpv6'],
): void {
  for (const address of addresses) {
    try {
      add(address);
    } catch (error) {
      const isExpected = address.family === 6 && isNoIpv6(error);
      if (!isExpected || onNoIpv6 === undefined) throw error;
      onNoIpv6(error);
    }
  }
}

/** `EACCES`: net.ipv6.conf.*.disable_ipv6; the others: a kernel without IPv6. */
const isNoIpv6 = (error: unknown): error is SystemError =>
  error instanceof SystemError && ['EACCES', 'EOPNOTSUPP', 'EAFNOSUPPORT'].includes(error.code);

function bytesOf(ip: string): Uint8Array {
  const bytes = parseAddress(ip);
  if (bytes === undefined) throw new Error(`the config let "${ip}" pass as an address`);
  return bytes;
}

/** The kernel refuses a route to a prefix with host bits. */
export function maskHostBits(address: Uint8Array, prefixLength: number): Uint8Array {
  return address.map((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefixLength - index * 8));
    return byte & (0xff << (8 - bits));
  });
}
