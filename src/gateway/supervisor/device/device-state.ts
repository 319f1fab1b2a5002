/** How the device is now, wherever it is. */
import { SystemError } from '../../../ffi/errors.ts';
import type { Link } from '../../../ffi/link-message.ts';
import { Netlink } from '../../../ffi/netlink.ts';
import { inNamespaceOf, isInOwnNamespace } from '../../../ffi/network-namespace.ts';
import type { TunDevice } from '../../../ffi/tun-device.ts';

export interface DeviceState {
  readonly name: string;
  readonly isUp: boolean;
  /** Bytes; 0 when it is where we may not look. */
  readonly mtu: number;
  /** Packets; 0 likewise. */
  readonly txQueueLength: number;
  /** In the network namespace of the gateway; else it was moved to another one. */
  readonly isHere: boolean;
  /** Of the interface in that namespace; 0 when it is unknown. */
  readonly index: number;
}

/**
 * @returns             undefined once the interface was deleted
 * @throws SystemError  it cannot be seen now: `EMFILE`, `ENOBUFS`, `ENOMEM`
 */
export function lookAtDevice(tun: TunDevice): DeviceState | undefined {
  try {
    const name = tun.currentName();
    const isHere = isInOwnNamespace(tun.fd);
    return isHere ? stateOf(linkOf(name), true) : lookElsewhere(tun, name);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (tun.probe() === 'gone') return undefined;
    // Moved between two of these calls.
    if (error.code === 'ENODEV') return blindState(tun);
    throw error;
  }
}

export const stateOf = (link: Link, isHere: boolean): DeviceState => ({
  name: link.name,
  isUp: link.isUp,
  mtu: link.mtu,
  txQueueLength: link.txQueueLength,
  isHere,
  index: link.index,
});

function linkOf(name: string): Link {
  using netlink = new Netlink();
  return netlink.link(name);
}

/** Without CAP_SYS_ADMIN, or on a kernel before Linux 5.2, nobody looks there. */
const CLOSED_TO_US: ReadonlySet<string> = new Set(['EPERM', 'EACCES', 'EINVAL', 'ENOTTY']);

/** Without CAP_SYS_ADMIN a write still tells whether it is up. */
function lookElsewhere(tun: TunDevice, name: string): DeviceState | undefined {
  try {
    return stateOf(
      inNamespaceOf(tun.fd, () => linkOf(name)),
      false,
    );
  } catch (error) {
    if (!(error instanceof SystemError && CLOSED_TO_US.has(error.code))) throw error;
    return tun.probe() === 'gone' ? undefined : blindState(tun);
  }
}

function blindState(tun: TunDevice): DeviceState {
  const name = tun.currentName();
  const isUp = tun.probe() === 'up';
  return { name, isUp, mtu: 0, txQueueLength: 0, isHere: false, index: 0 };
}
