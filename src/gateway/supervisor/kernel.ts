/** What the supervisor takes from the kernel and lends to its children: device, memory, sockets. */
import { SystemError } from '../../ffi/errors.ts';
import { SharedMemory } from '../../ffi/memory.ts';
import { closeFd, socketPair } from '../../ffi/sockets.ts';
import { COUNTERS_BYTES } from '../../stack/counters.ts';
import { stateBytes } from '../../stack/layout.ts';
import { ConfigError, type LoadedConfig } from '../config/load.ts';
import { queueLimits } from '../config/queues.ts';
import type { Config } from '../config/schema.ts';
import { CAPTURE_RING_BYTES } from '../messages/capture-ring.ts';
import { HOST_MEMORY_BYTES } from '../messages/flow-notes.ts';
import { Device } from './device/device.ts';
import type { OnNoIpv6 } from './device/device-setup.ts';
import { HostSockets } from './host-sockets.ts';

/** What the data plane of a queue needs besides the queue itself. */
export interface QueueKernel {
  readonly state: SharedMemory;
  readonly counters: SharedMemory;
  /** Packets on their way to captures; takes memory of the machine only when there are some. */
  readonly capture: SharedMemory;
  /** Between it and the script host. */
  readonly hostSockets: HostSockets;
  /** Ends of the data plane and of all others, which hand over frames. */
  readonly inbox: readonly [dataPlane: number, peers: number];
  /** Over which it gets the descriptors of devices that come later. */
  readonly handover: readonly [supervisor: number, dataPlane: number];
}

export interface Kernel extends Disposable {
  readonly device: Device;
  readonly queues: readonly QueueKernel[];
  /**
   * What each script host shares with us: signs of life and notes about flows. Two, so that a new
   * host does not write over what the old one says.
   */
  readonly hostPages: readonly [SharedMemory, SharedMemory];
}

export interface KernelOptions {
  /**
   * Told when IPv6 addresses are left out because the machine has no IPv6. Absent: that is an
   * error, as the operator asked for them.
   */
  readonly onNoIpv6?: OnNoIpv6;
}

/**
 * Makes and configures everything; on a failure nothing is left.
 *
 * @throws SystemError  with a hint: `EPERM` without CAP_NET_ADMIN, `EBUSY` for a name in use,
 *                      `EACCES` for an IPv6 address where IPv6 is disabled
 */
export function openKernel(config: Config, { onNoIpv6 }: KernelOptions = {}): Kernel {
  using stack = new DisposableStack();
  const device = stack.use(Device.open(config.device, process.env, onNoIpv6));
  device.routePool(config.nat.addresses);
  const bytes = stateBytes(queueLimits(config));
  const queues = device.tuns.map(() => ({
    state: stack.use(SharedMemory.create('culvert-state', bytes)),
    counters: stack.use(SharedMemory.create('culvert-counters', COUNTERS_BYTES)),
    capture: stack.use(SharedMemory.create('culvert-capture', CAPTURE_RING_BYTES)),
    hostSockets: stack.use(new HostSockets()),
    inbox: sockets(stack),
    handover: sockets(stack),
  }));
  const hostPage = () => stack.use(SharedMemory.create('culvert-host', HOST_MEMORY_BYTES));
  const hostPages = [hostPage(), hostPage()] as const;
  const owned = stack.move();
  return {
    ...{ device, queues, hostPages },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function sockets(stack: DisposableStack): [number, number] {
  const pair = socketPair('seqpacket');
  stack.defer(() => {
    for (const fd of pair) closeFd(fd);
  });
  return pair;
}

/** What the data plane of a queue inherits: as `DataPlaneFd` and `peerFds` order it. */
export function dataPlaneFds({ device, queues }: Kernel, index: number): number[] {
  const own = queues[index]!;
  const peers = queues.filter((queue) => queue !== own);
  const { decisions, conns } = own.hostSockets.dataPlane;
  return [
    ...[device.tuns[index]!.fd, own.state.fd, own.counters.fd],
    ...[decisions, conns, own.handover[1], own.capture.fd, own.inbox[0]],
    ...peers.flatMap(({ state, inbox }) => [state.fd, inbox[1]]),
  ];
}

/** What the script host inherits of the queues: as `queueFds` orders it. */
export const scriptHostFds = ({ queues }: Kernel): number[] =>
  queues.flatMap(({ hostSockets: { scriptHost } }) => [scriptHost.decisions, scriptHost.conns]);

/**
 * Routes the pool of a configuration that comes to a running gateway.
 *
 * @throws ConfigError  when the kernel refuses a route
 */
export function routePoolOf({ config, file }: LoadedConfig, kernel: Kernel): void {
  try {
    kernel.device.routePool(config.nat.addresses);
  } catch (cause) {
    if (!(cause instanceof SystemError)) throw cause;
    const issue = { path: 'nat.addresses', message: cause.message };
    throw new ConfigError(file ?? 'embedded default', [issue], { cause });
  }
}
