/** What the gateway sets on its device: MTU, queue, addresses, routes; and takes back. */
import { SystemError } from '../../../ffi/errors.ts';
import { Netlink } from '../../../ffi/netlink.ts';
import { moveRoutes } from '../../../ffi/netlink-routes.ts';
import { inNamespaceOf, isInOwnNamespace } from '../../../ffi/network-namespace.ts';
import type { TunDevice } from '../../../ffi/tun-device.ts';
import { parseAddress } from '../../../stack/wire/ip-address.ts';
import type { DeviceConfig } from '../../config/device-schema.ts';
import type { Cidr } from '../../config/value-texts.ts';

/** Told of IPv6 addresses that are left out because the machine has no IPv6. */
export type OnNoIpv6 = (error: SystemError) => void;

export class DeviceSetup {
  readonly #tun: TunDevice;
  readonly #config: DeviceConfig;
  readonly #pool = new Set<string>();

  constructor(tun: TunDevice, config: DeviceConfig) {
    this.#tun = tun;
    this.#config = config;
  }

  /**
   * Sets everything but routes.
   *
   * @param onNoIpv6  absent, a missing IPv6 is an error: the operator asked for the addresses
   * @throws SystemError  `EPERM`; `EACCES` for an IPv6 address where IPv6 is disabled
   */
  configure(onNoIpv6: OnNoIpv6 | undefined): void {
    const { mtu, txQueueLength, addresses } = this.#config;
    this.#withLink((netlink, index) => {
      const changes = { txQueueLength, up: true };
      netlink.configureLink(index, mtu === undefined ? changes : { ...changes, mtu });
      addAddresses(
        addresses,
        ({ ip, prefixLength }) => netlink.addAddress(index, bytesOf(ip), prefixLength),
        onNoIpv6,
      );
    });
  }

  /**
   * Routes what is configured into the device. On a device that outlived an earlier gateway the
   * routes may be there.
   *
   * @throws SystemError  `EEXIST` where the host has a route of its own to one of the prefixes
   */
  addRoutes(): void {
    this.#withLink((netlink, index) => {
      for (const { ip, prefixLength } of this.#config.routes) {
        const prefix = maskHostBits(bytesOf(ip), prefixLength);
        if (this.#tun.isPersistent()) netlink.removeRoute(index, prefix, prefixLength);
        netlink.addRoute(index, prefix, prefixLength);
      }
    });
  }

  /**
   * A host route for each address, where there is none yet: it wins over whatever wider route leads
   * elsewhere. They stay: flows may have the addresses for long after the configuration lost them.
   *
   * @throws SystemError  `EEXIST` where the host has a route of its own to one of them
   */
  routePool(addresses: readonly string[]): void {
    const routed = new Set(this.#config.routes.filter(isHost).map(({ ip }) => ip));
    const missing = addresses.filter((ip) => !routed.has(ip) && !this.#pool.has(ip));
    if (missing.length === 0) return;
    this.#withLink((netlink, index) => {
      for (const ip of missing) {
        const bytes = bytesOf(ip);
        if (this.#tun.isPersistent()) netlink.removeRoute(index, bytes, bytes.length * 8);
        netlink.addRoute(index, bytes, bytes.length * 8);
        this.#pool.add(ip);
      }
    });
  }

  /**
   * Brings all routes of another device of the gateway to this one, each in one step; for the
   * kernel there is no moment without. Those that the operator has made come too.
   */
  takeRoutes(from: DeviceSetup): void {
    for (const ip of from.#pool) this.#pool.add(ip);
    this.#withLink((netlink, index) => {
      if (isInOwnNamespace(from.#tun.fd)) {
        moveRoutes(netlink, netlink.linkIndex(from.#tun.currentName()), index);
      }
      for (const { ip, prefixLength } of this.#config.routes) {
        netlink.replaceRoute(index, maskHostBits(bytesOf(ip), prefixLength), prefixLength);
      }
      for (const ip of this.#pool) {
        const bytes = bytesOf(ip);
        netlink.replaceRoute(index, bytes, bytes.length * 8);
      }
    });
  }

  /**
   * Sets again what the kernel forgets of an interface that goes down: routes, and addresses of
   * IPv6. Where somebody else has a route to a prefix meanwhile, that stays. What the kernel
   * refuses keeps back nothing else.
   *
   * @param hasLeftOut    the gateway has started without addresses of IPv6, as there is none
   * @throws SystemError  the first refusal: `ENETDOWN` when it is down again, `EACCES` for what is
   *                      of IPv6 when that was disabled since
   */
  refresh(hasLeftOut: boolean): void {
    const { addresses, routes } = this.#config;
    const hosts = [...this.#pool].map((ip) => ({ ip, prefixLength: bytesOf(ip).length * 8 }));
    let refusal: SystemError | undefined;
    const attempt = (work: () => void, isFine: (error: SystemError) => boolean): void => {
      try {
        work();
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        if (!isFine(error)) refusal ??= error;
      }
    };
    this.#withLink((netlink, index) => {
      for (const { ip, prefixLength, family } of addresses) {
        attempt(
          () => netlink.addAddress(index, bytesOf(ip), prefixLength),
          (error) => hasLeftOut && family === 6 && isNoIpv6(error),
        );
      }
      for (const { ip, prefixLength } of [...routes, ...hosts]) {
        attempt(
          () => netlink.addRoute(index, maskHostBits(bytesOf(ip), prefixLength), prefixLength),
          ({ code }) => code === 'EEXIST',
        );
      }
    });
    if (refusal !== undefined) throw refusal;
  }

  /** As `takeRoutes`, when the device before is gone, and its routes with it. */
  restoreRoutes(from: DeviceSetup): void {
    this.addRoutes();
    this.routePool([...from.#pool]);
  }

  /** Notes what is routed already: it is the same interface. */
  adopt(from: DeviceSetup): void {
    for (const ip of from.#pool) this.#pool.add(ip);
  }

  /** Takes addresses and routes off a device that stays when the gateway has ended. */
  undo(): void {
    this.#withLink((netlink, index) => {
      for (const ip of this.#pool) netlink.removeRoute(index, bytesOf(ip), bytesOf(ip).length * 8);
      for (const { ip, prefixLength } of this.#config.routes) {
        netlink.removeRoute(index, maskHostBits(bytesOf(ip), prefixLength), prefixLength);
      }
      for (const { ip, prefixLength } of this.#config.addresses) {
        netlink.removeAddress(index, bytesOf(ip), prefixLength);
      }
    });
  }

  /** Works on the interface where it is: a device that was handed over may be elsewhere. */
  #withLink(work: (netlink: Netlink, index: number) => void): void {
    const tun = this.#tun;
    const run = (): void => {
      using netlink = new Netlink();
      work(netlink, netlink.linkIndex(tun.currentName()));
    };
    if (isInOwnNamespace(tun.fd)) run();
    else inNamespaceOf(tun.fd, run);
  }
}

const isHost = ({ prefixLength, family }: Cidr): boolean =>
  prefixLength === (family === 4 ? 32 : 128);

/** Adds all of them; without IPv6 in the kernel those of IPv4, where that is acceptable. */
export function addAddresses(
  addresses: readonly Cidr[],
  add: (address: Cidr) => void,
  onNoIpv6: OnNoIpv6 | undefined,
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
