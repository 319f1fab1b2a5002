/** What the supervisor takes from the kernel and lends to its children: device, memory, sockets. */
import { SharedMemory } from '../../ffi/memory.ts';
import { Netlink } from '../../ffi/netlink.ts';
import { closeFd, socketPair } from '../../ffi/sockets.ts';
import { TunDevice } from '../../ffi/tun-device.ts';
import { COUNTERS_BYTES } from '../../stack/counters.ts';
import { stateBytes } from '../../stack/layout.ts';
import { parseAddress } from '../../stack/wire/ip-address.ts';
import type { Config } from '../config/schema.ts';
import { HEARTBEAT_BYTES } from '../messages/script-control.ts';

export interface Kernel extends Disposable {
  readonly tun: TunDevice;
  readonly state: SharedMemory;
  readonly counters: SharedMemory;
  readonly heartbeat: SharedMemory;
  /**
   * Ends of the data plane and of the script host. Both stay open here, so that a child that is
   * replaced finds the same socket.
   */
  readonly scripts: readonly [dataPlane: number, scriptHost: number];
}

/**
 * Makes and configures everything; on a failure nothing is left.
 *
 * @throws SystemError  with a hint: `EPERM` without CAP_NET_ADMIN, `EBUSY` for a name in use
 */
export function openKernel(config: Config): Kernel {
  using stack = new DisposableStack();
  const tun = stack.use(
    TunDevice.open({ name: config.device.name, offload: config.device.offload }),
  );
  configureDevice(tun, config);
  const state = stack.use(SharedMemory.create('culvert-state', stateBytes(config.limits)));
  const counters = stack.use(SharedMemory.create('culvert-counters', COUNTERS_BYTES));
  const heartbeat = stack.use(SharedMemory.create('culvert-heartbeat', HEARTBEAT_BYTES));
  const scripts = socketPair('seqpacket');
  stack.defer(() => {
    for (const fd of scripts) closeFd(fd);
  });
  const owned = stack.move();
  return { tun, state, counters, heartbeat, scripts, [Symbol.dispose]: () => owned.dispose() };
}

function configureDevice(tun: TunDevice, { device }: Config): void {
  using netlink = new Netlink();
  const index = netlink.linkIndex(tun.name);
  netlink.configureLink(index, { mtu: device.mtu, txQueueLength: device.txQueueLength, up: true });
  for (const { ip, prefixLength } of device.addresses) {
    netlink.addAddress(index, bytesOf(ip), prefixLength);
  }
  for (const { ip, prefixLength } of device.routes) {
    netlink.addRoute(index, maskHostBits(bytesOf(ip), prefixLength), prefixLength);
  }
}

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
