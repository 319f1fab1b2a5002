/** Work on the interface of a device where it is: one that was handed over may be elsewhere. */
import { Netlink } from '../../../ffi/netlink.ts';
import { inNamespaceOf, isInOwnNamespace } from '../../../ffi/network-namespace.ts';
import type { TunDevice } from '../../../ffi/tun-device.ts';

/** @throws SystemError  `EBADFD` once the interface was deleted; and what `work` throws */
export function onLink(tun: TunDevice, work: (netlink: Netlink, index: number) => void): void {
  const run = (): void => {
    using netlink = new Netlink();
    work(netlink, netlink.linkIndex(tun.currentName()));
  };
  if (isInOwnNamespace(tun.fd)) run();
  else inNamespaceOf(tun.fd, run);
}
