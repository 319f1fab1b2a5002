/**
 * What a reload changes on the device in use. What is new comes first, and goes again when the
 * kernel refuses a part of it; what is old is taken off when the config is in force. So a reload
 * that is refused in between has lost nothing.
 */
import { SystemError } from '../../../ffi/errors.ts';
import type { Netlink } from '../../../ffi/netlink.ts';
import { giveAddress, givenAddresses } from '../../../ffi/netlink-addresses.ts';
import { keepingRoutes } from '../../../ffi/netlink-routes.ts';
import type { TunDevice } from '../../../ffi/tun-device.ts';
import type { DeviceConfig } from '../../config/device-schema.ts';
import type { Cidr } from '../../config/value-texts.ts';
import { onLink } from './device-link.ts';
import {
  addAddresses,
  addRouteOnce,
  bytesOf,
  type DeviceSetup,
  maskHostBits,
  type OnNoIpv6,
} from './device-setup.ts';

/** The kernel refuses a value of the config; the device is as it was. */
export class DeviceChangeError extends Error {
  override readonly name = 'DeviceChangeError';
  readonly code = 'DEVICE_CHANGE_REFUSED';
  /** Of the value, as `['device', 'routes', 1]`. */
  readonly path: readonly PropertyKey[];

  constructor(path: readonly PropertyKey[], cause: SystemError) {
    super(cause.message, { cause });
    this.path = path;
  }
}

/** The device in use; after a swap it is another one. */
export interface ChangedDevice {
  readonly tun: TunDevice;
  readonly setup: Pick<DeviceSetup, 'isPooled'>;
}

/** What the kernel has to know of. */
const KERNEL_KEYS = ['mtu', 'txQueueLength', 'addresses', 'routes'] as const;

type Prefix = Pick<Cidr, 'ip' | 'prefixLength'>;
type Step = (netlink: Netlink, index: number) => void;

export class DeviceChange {
  readonly before: DeviceConfig;
  readonly #wanted: DeviceConfig;
  readonly #device: () => ChangedDevice;
  #undo: Step[] = [];

  constructor(before: DeviceConfig, wanted: DeviceConfig, device: () => ChangedDevice) {
    this.before = before;
    this.#wanted = wanted;
    this.#device = device;
  }

  /**
   * Sets MTU and queue where the config has others, and adds new addresses and routes. What the
   * config says as before stays as it is, also where somebody has set it otherwise.
   *
   * @param onNoIpv6  see `DeviceSetup.configure`
   * @throws DeviceChangeError  the device is as it was
   */
  begin(onNoIpv6: OnNoIpv6 | undefined): void {
    const isSame = (key: (typeof KERNEL_KEYS)[number]): boolean =>
      Bun.deepEquals(this.before[key], this.#wanted[key]);
    // The device may be where it cannot be worked on, and other sections change all the same.
    if (KERNEL_KEYS.every(isSame)) return;
    const { tun } = this.#device();
    at(['device'], () =>
      onLink(tun, (netlink, index) => {
        try {
          const present = netlink.link(tun.currentName());
          this.#setLink(netlink, index, 'mtu', present.mtu);
          this.#setLink(netlink, index, 'txQueueLength', present.txQueueLength);
          this.#addAddresses(netlink, index, onNoIpv6);
          this.#addRoutes(netlink, index);
        } catch (error) {
          this.#takeBack(netlink, index);
          throw error;
        }
      }),
    );
  }

  /** Takes off what the config has no more. @throws SystemError  the device was deleted */
  finish(): void {
    const { tun, setup } = this.#device();
    const { addresses, routes } = missing(this.before, this.#wanted);
    if (addresses.length + routes.length === 0) return;
    onLink(tun, (netlink, index) => {
      if (addresses.length > 0) {
        keepingRoutes(netlink, index, () => this.#removeAddresses(netlink, index, addresses));
      }
      for (const prefix of routes) {
        if (setup.isPooled(prefix)) continue;
        const { ip, prefixLength } = prefix;
        netlink.removeRoute(index, maskHostBits(bytesOf(ip), prefixLength), prefixLength);
      }
    });
  }

  /** Makes the device what it was. @throws SystemError  the first refusal; the rest was done */
  undo(): void {
    const { addresses, routes } = missing(this.before, this.#wanted);
    // One that was made meanwhile has never had what was not taken off yet.
    for (const { ip, prefixLength } of addresses) {
      this.#undo.push((link, now) => link.addAddress(now, bytesOf(ip), prefixLength));
    }
    for (const { ip, prefixLength } of routes) {
      const prefix = maskHostBits(bytesOf(ip), prefixLength);
      this.#undo.push((link, now) => addRouteOnce(link, now, prefix, prefixLength));
    }
    if (this.#undo.length === 0) return;
    onLink(this.#device().tun, (netlink, index) => {
      const refusal = this.#takeBack(netlink, index);
      if (refusal !== undefined) throw refusal;
    });
  }

  #setLink(netlink: Netlink, index: number, key: 'mtu' | 'txQueueLength', present: number): void {
    const wanted = this.#wanted[key];
    if (wanted === undefined || wanted === this.before[key]) return;
    at(['device', key], () => netlink.configureLink(index, { [key]: wanted }));
    this.#undo.push((link, now) => link.configureLink(now, { [key]: present }));
  }

  #addAddresses(netlink: Netlink, index: number, onNoIpv6: OnNoIpv6 | undefined): void {
    const { addresses } = this.#wanted;
    const known = givenAddresses(netlink, index);
    for (const [position, address] of addresses.entries()) {
      const { ip, prefixLength } = address;
      if (includes(this.before.addresses, address, addressKey)) continue;
      const add = (): void => netlink.addAddress(index, bytesOf(ip), prefixLength);
      at(['device', 'addresses', position], () => addAddresses([address], add, onNoIpv6));
      if (includes(known, address, addressKey)) continue;
      this.#undo.push((link, now) =>
        keepingRoutes(link, now, () => link.removeAddress(now, bytesOf(ip), prefixLength)),
      );
    }
  }

  #addRoutes(netlink: Netlink, index: number): void {
    const { setup } = this.#device();
    for (const [position, route] of this.#wanted.routes.entries()) {
      if (includes(this.before.routes, route, routeKey) || setup.isPooled(route)) continue;
      const { prefixLength } = route;
      const prefix = maskHostBits(bytesOf(route.ip), prefixLength);
      at(['device', 'routes', position], () => {
        if (!addRouteOnce(netlink, index, prefix, prefixLength)) return;
        this.#undo.push((link, now) => link.removeRoute(now, prefix, prefixLength));
      });
    }
  }

  /** With the first address of a network the kernel takes off all others of it. */
  #removeAddresses(netlink: Netlink, index: number, gone: readonly Cidr[]): void {
    const stay = givenAddresses(netlink, index).filter(
      (given) => !includes(gone, given, addressKey),
    );
    for (const { ip, prefixLength } of gone) {
      netlink.removeAddress(index, bytesOf(ip), prefixLength);
    }
    for (const given of stay) giveAddress(netlink, index, given);
    // Of IPv6, an address is there once: only now there is room for it with another prefix length.
    for (const { ip, prefixLength } of this.#wanted.addresses) {
      if (!gone.some((old) => old.ip === ip)) continue;
      netlink.addAddress(index, bytesOf(ip), prefixLength);
    }
  }

  #takeBack(netlink: Netlink, index: number): SystemError | undefined {
    let refusal: SystemError | undefined;
    for (const step of this.#undo.reverse()) {
      try {
        step(netlink, index);
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        refusal ??= error;
      }
    }
    this.#undo = [];
    return refusal;
  }
}

/** What `before` has and `wanted` has not. */
const missing = (before: DeviceConfig, wanted: DeviceConfig) => ({
  addresses: before.addresses.filter((one) => !includes(wanted.addresses, one, addressKey)),
  routes: before.routes.filter((one) => !includes(wanted.routes, one, routeKey)),
});

type Key = (prefix: Prefix) => string;

const includes = (list: readonly Prefix[], wanted: Prefix, key: Key): boolean =>
  list.some((one) => key(one) === key(wanted));

const addressKey: Key = ({ ip, prefixLength }) => `${ip}/${prefixLength}`;

/** Of a route the host bits do not count. */
const routeKey: Key = ({ ip, prefixLength }) =>
  `${maskHostBits(bytesOf(ip), prefixLength)}/${prefixLength}`;

/** @throws DeviceChangeError  for what the kernel refuses */
function at(path: readonly PropertyKey[], work: () => void): void {
  try {
    work();
  } catch (error) {
    throw error instanceof SystemError ? new DeviceChangeError(path, error) : error;
  }
}
