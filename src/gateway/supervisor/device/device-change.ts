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

  constructor(path: readonly PropertyKey[], cause: Error) {
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

/** Bytes, and packets. */
export type LinkValues = Partial<Record<'mtu' | 'txQueueLength', number>>;

type Prefix = Pick<Cidr, 'ip' | 'prefixLength'>;
type Step = (netlink: Netlink, index: number) => void;

export class DeviceChange {
  readonly before: DeviceConfig;
  readonly #wanted: DeviceConfig;
  readonly #device: () => ChangedDevice;
  readonly #begunOn: TunDevice;
  #linkBefore: LinkValues = {};
  #undo: Step[] = [];

  constructor(before: DeviceConfig, wanted: DeviceConfig, device: () => ChangedDevice) {
    this.before = before;
    this.#wanted = wanted;
    this.#device = device;
    this.#begunOn = device().tun;
  }

  /** What it changes of MTU and queue, as that was before. */
  get linkBefore(): LinkValues {
    return this.#linkBefore;
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

  /**
   * In the place of `begin`, when the device is gone: should one be made with the wanted config
   * before that is refused, `undo` takes off it what it would not have had.
   *
   * @param link  MTU and queue that it would have; 0 where they are not known
   */
  beginWithout(link: LinkValues): void {
    const { setup } = this.#device();
    const { addresses, routes } = missing(this.#wanted, this.before);
    for (const key of ['mtu', 'txQueueLength'] as const) {
      const isChanged = linkChanges(this.before, this.#wanted)[key] !== undefined;
      if (isChanged && link[key]) this.#noteLink(key, link[key]);
    }
    for (const address of addresses) this.#undo.push(takingOff(address));
    for (const { ip, prefixLength } of routes.filter((route) => !setup.isPooled(route))) {
      const prefix = maskHostBits(bytesOf(ip), prefixLength);
      this.#undo.push((netlink, now) => netlink.removeRoute(now, prefix, prefixLength));
    }
  }

  /**
   * Takes off what the config has no more.
   *
   * @param onNoIpv6      see `DeviceSetup.configure`
   * @throws SystemError  the first refusal; the rest was done
   */
  finish(onNoIpv6: OnNoIpv6 | undefined): void {
    const { tun, setup } = this.#device();
    const { addresses, routes } = missing(this.before, this.#wanted);
    if (addresses.length + routes.length === 0) return;
    onLink(tun, (netlink, index) => {
      const removeAddresses = (): void => {
        if (addresses.length === 0) return;
        keepingRoutes(netlink, index, () =>
          this.#removeAddresses(netlink, index, addresses, onNoIpv6),
        );
      };
      const removals = routes
        .filter((prefix) => !setup.isPooled(prefix))
        .map(({ ip, prefixLength }) => (): void => {
          netlink.removeRoute(index, maskHostBits(bytesOf(ip), prefixLength), prefixLength);
        });
      throwRefusal(attemptAll([removeAddresses, ...removals]));
    });
  }

  /**
   * Makes the device what it was.
   *
   * @param onNoIpv6      see `DeviceSetup.configure`
   * @throws SystemError  the first refusal; the rest was done
   */
  undo(onNoIpv6: OnNoIpv6 | undefined): void {
    const { tun } = this.#device();
    const gone = missing(this.before, this.#wanted);
    const isOther = tun !== this.#begunOn;
    // One that was made meanwhile has never had what was not taken off yet; and with an address of
    // the refused config, the kernel may take off one of the same network.
    const addresses = isOther ? this.before.addresses : gone.addresses;
    // The first to stand here is the last to be done.
    this.#undo.unshift(
      ...gone.routes.map(({ ip, prefixLength }): Step => {
        const prefix = maskHostBits(bytesOf(ip), prefixLength);
        return (netlink, now) => addRouteOnce(netlink, now, prefix, prefixLength);
      }),
      ...addresses.toReversed().map(
        (address): Step =>
          (netlink, now) => {
            const add = ({ ip, prefixLength }: Cidr) =>
              netlink.addAddress(now, bytesOf(ip), prefixLength);
            addAddresses([address], add, onNoIpv6);
          },
      ),
    );
    if (this.#undo.length === 0) return;
    onLink(tun, (netlink, index) => throwRefusal(this.#takeBack(netlink, index)));
  }

  #setLink(netlink: Netlink, index: number, key: keyof LinkValues, present: number): void {
    const wanted = linkChanges(this.before, this.#wanted)[key];
    if (wanted === undefined) return;
    at(['device', key], () => netlink.configureLink(index, { [key]: wanted }));
    this.#noteLink(key, present);
  }

  #noteLink(key: keyof LinkValues, before: number): void {
    this.#linkBefore = { ...this.#linkBefore, [key]: before };
    this.#undo.push((netlink, now) => netlink.configureLink(now, { [key]: before }));
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
      this.#undo.push(takingOff(address));
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
  #removeAddresses(
    netlink: Netlink,
    index: number,
    gone: readonly Cidr[],
    onNoIpv6: OnNoIpv6 | undefined,
  ): void {
    const stay = givenAddresses(netlink, index).filter(
      (given) => !includes(gone, given, addressKey),
    );
    // Of IPv6, an address is there once: only then there is room for it with another prefix length.
    const again = this.#wanted.addresses.filter(({ ip }) => gone.some((old) => old.ip === ip));
    const add = ({ ip, prefixLength }: Cidr): void =>
      netlink.addAddress(index, bytesOf(ip), prefixLength);
    const refusal = attemptAll([
      ...gone.map(({ ip, prefixLength }) => (): void => {
        netlink.removeAddress(index, bytesOf(ip), prefixLength);
      }),
      ...stay.map((given) => (): void => giveAddress(netlink, index, given)),
      ...again.map((address) => (): void => addAddresses([address], add, onNoIpv6)),
    ]);
    throwRefusal(refusal);
  }

  #takeBack(netlink: Netlink, index: number): SystemError | undefined {
    const steps = this.#undo.reverse();
    this.#undo = [];
    return attemptAll(steps.map((step) => (): void => step(netlink, index)));
  }
}

/** The routes of the device stay, though the kernel would take them off with the address. */
const takingOff =
  ({ ip, prefixLength }: Prefix): Step =>
  (netlink, index) =>
    keepingRoutes(netlink, index, () => netlink.removeAddress(index, bytesOf(ip), prefixLength));

/** MTU and queue, where `wanted` has others; what it does not name stays as it is. */
export function linkChanges(before: DeviceConfig, wanted: DeviceConfig): LinkValues {
  const { mtu, txQueueLength } = wanted;
  return {
    ...(mtu === undefined || mtu === before.mtu ? {} : { mtu }),
    ...(txQueueLength === before.txQueueLength ? {} : { txQueueLength }),
  };
}

/** What the kernel refuses of it keeps back nothing else. @returns the first refusal */
function attemptAll(works: readonly (() => void)[]): SystemError | undefined {
  let refusal: SystemError | undefined;
  for (const work of works) {
    try {
      work();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      refusal ??= error;
    }
  }
  return refusal;
}

function throwRefusal(refusal: SystemError | undefined): void {
  if (refusal !== undefined) throw refusal;
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
