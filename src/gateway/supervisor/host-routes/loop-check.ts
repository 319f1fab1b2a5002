/**
 * Looks for dials of the gateway that the kernel would send back into its own device, before a flow
 * finds out: there, each is refused by `dataplane/loop-guard.ts`.
 */
import { readFileSync } from 'node:fs';
import { SystemError } from '../../../ffi/errors.ts';
import { Netlink } from '../../../ffi/netlink.ts';
import { parseAddress } from '../../../stack/wire/ip-address.ts';
import type { Config } from '../../config/schema.ts';
import { allUpstreams } from '../../config/upstream-schema.ts';
import { parseTarget } from '../../config/value-texts.ts';

export interface RouteWarning {
  /** What it is about: an address, an interface. */
  readonly subject: string;
  readonly message: string;
}

const RP_FILTER_STRICT = 1;

/** Warnings about what is routed now; none where the device is not in this namespace. */
export function checkLoops(config: Config, deviceName: string): RouteWarning[] {
  using netlink = new Netlink();
  const device = indexOf(netlink, deviceName);
  if (device === undefined) return [];
  const { interface: bound } = config.egress;
  const boundTo = bound === '' ? 0 : indexOf(netlink, bound);
  if (boundTo === undefined) {
    return [{ subject: bound, message: `egress.interface: there is no interface "${bound}"` }];
  }
  const leadsBack = (ip: string, mark: number, from: number) =>
    outgoing(netlink, ip, mark, from) === device;
  const dials = [...dialsOf(config), ...upstreamDials(config)];
  return [
    ...dials.flatMap(({ ip, place, egress = config.egress }) => {
      const from = egress.interface === bound ? boundTo : indexOf(netlink, egress.interface);
      if (from === undefined) return [];
      return leadsBack(ip, egress.fwmark, from) ? [dialWarning(egress, deviceName, ip, place)] : [];
    }),
    // Names are looked up by the C library, whose sockets have neither mark nor interface.
    ...nameServers().flatMap((ip) =>
      leadsBack(ip, 0, 0) ? [nameServerWarning(deviceName, ip)] : [],
    ),
    ...strictFilters(config),
  ];
}

/** How a socket leaves the host. */
type Egress = Pick<Config['egress'], 'fwmark' | 'interface'>;

interface Dial {
  readonly ip: string;
  /** Where the config says so. */
  readonly place: string;
  /** Other than `egress` of the config. */
  readonly egress?: Egress;
}

/** Addresses that the config dials, or that stand for what it forwards. */
function dialsOf(config: Config): Dial[] {
  const targets = config.listeners.flatMap(({ name, to, action }): Dial[] =>
    to === undefined || action !== 'forward' ? [] : [{ ip: to.ip, place: `listener "${name}"` }],
  );
  // A network stands for all of its addresses: none of them may come back.
  const networks = config.routes.include.map(({ ip, prefixLength }) => ({
    ip: prefixLength === 0 ? (ip.includes(':') ? '2001:db8::1' : '192.0.2.1') : ip,
    place: `a dial to ${ip}/${prefixLength}`,
  }));
  return [...targets, ...networks];
}

/** Members of pools, and proxies. What goes by an egress goes where clients want to. */
const upstreamDials = (config: Config): Dial[] =>
  Array.from(allUpstreams(config)).flatMap(([name, upstream]): Dial[] => {
    const { fwmark = config.egress.fwmark, interface: device = config.egress.interface } = upstream;
    const egress = { fwmark, interface: device };
    const place = `upstream "${name}"`;
    if (upstream.kind === 'proxy') return [{ ip: upstream.address.ip, place, egress }];
    if (upstream.kind === 'egress') return [];
    return upstream.addresses.map(({ ip }) => ({ ip, place, egress }));
  });

function dialWarning(egress: Egress, device: string, ip: string, place: string): RouteWarning {
  const how =
    egress.interface !== ''
      ? `egress.interface ${egress.interface} does not lead around it`
      : egress.fwmark === 0
        ? 'set egress.fwmark or egress.interface'
        : `no rule leads packets with the mark 0x${egress.fwmark.toString(16)} around it: ` +
          'see `culvert route plan`';
  const message = `${place}: ${ip} would come back into ${device} (${how})`;
  return { subject: ip, message };
}

function nameServerWarning(device: string, ip: string): RouteWarning {
  const out = `add ${ip} to routes.exclude, or a listener that forwards it`;
  const message = `name server ${ip} is behind ${device}, and lookups enter it (${out})`;
  return { subject: ip, message };
}

/** With a strict filter the kernel drops answers to marked dials: their way back looks another. */
function strictFilters({ routes, egress }: Config): RouteWarning[] {
  if (routes.include.length === 0 || egress.fwmark === 0) return [];
  const all = rpFilter('all');
  const names = all === RP_FILTER_STRICT ? ['all'] : ['default'].filter(isStrict);
  return names.map((name) => ({
    subject: name,
    message:
      `net.ipv4.conf.${name}.rp_filter is 1: answers to the gateway's own dials may be dropped ` +
      '(set it to 2)',
  }));
}

const isStrict = (name: string): boolean => rpFilter(name) === RP_FILTER_STRICT;

const rpFilter = (name: string): number =>
  Number(readOptional(`/proc/sys/net/ipv4/conf/${name}/rp_filter`) ?? 0);

/** As resolv.conf(5) has them; those on this host are reached without a route. */
function nameServers(): string[] {
  const lines = (readOptional('/etc/resolv.conf') ?? '').split('\n');
  return lines.flatMap((line) => {
    const ip = /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '';
    const target = parseTarget(ip);
    return target === undefined ? [] : [target.ip];
  });
}

/** Index of the interface that a packet would leave by, or a negative errno. */
function outgoing(netlink: Netlink, ip: string, mark: number, boundTo: number): number {
  const bytes = parseAddress(ip);
  if (bytes === undefined) return 0;
  const family = bytes.length === 4 ? 4 : 6;
  return netlink.routeInterface(new DataView(bytes.buffer), 0, family, mark, boundTo);
}

function indexOf(netlink: Netlink, name: string): number | undefined {
  try {
    return netlink.linkIndex(name);
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ENODEV') return undefined;
    throw error;
  }
}

function readOptional(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
