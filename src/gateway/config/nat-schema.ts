/** The sections `nat` and `conntrack` of a config, and what listeners need of them. */
import { z } from 'zod';
import { destinationsOf, type ListenerConfig } from './listener-schema.ts';
import { type Cidr, familyOf, type PortRange } from './value-texts.ts';
import { duration, IDLE_MS_MAX, ipAddress, portRange } from './values.ts';

/** The pool is searched for a free port one address after the other. */
const POOL_MAX = 256;
/** What every IPv4 host takes without being asked, RFC 9293 §3.7.1. */
const MSS_MIN = 536;
/** Largest IPv4 packet less two headers of 20 bytes. */
const MSS_MAX = 65_495;

export const nat = z
  .strictObject({
    addresses: z
      .array(ipAddress)
      .max(POOL_MAX)
      .refine((list) => new Set(list).size === list.length, 'an address stands twice')
      .prefault([]),
    ports: portRange.prefault('1024-65535'),
    portsPerSource: z.int().min(1).optional(),
    clampMss: z.union([z.enum(['auto', 'off']), z.int().min(MSS_MIN).max(MSS_MAX)]).default('auto'),
  })
  .transform(({ ports: [first, last], portsPerSource, ...rest }) => ({
    ...rest,
    ports: [first, last] as PortRange,
    // As with flows: no source can take all ports of an address.
    portsPerSource: portsPerSource ?? Math.max(1, Math.floor(((last - first + 1) * 2) / 3)),
  }));

/** A second is the least that means something: expired flows are taken out in seconds. */
const timeout = (text: string) => duration(1000, IDLE_MS_MAX).prefault(text);

/** Defaults of stack/conntrack/timeouts.ts, which has the reasons. */
const timeouts = z.strictObject({
  tcpSynSent: timeout('2m'),
  tcpSynReceived: timeout('1m'),
  tcpEstablished: timeout('2h4m'),
  tcpFinWait: timeout('2m'),
  tcpCloseWait: timeout('1m'),
  tcpLastAck: timeout('30s'),
  tcpTimeWait: timeout('2m'),
  tcpClose: timeout('10s'),
  tcpUnacknowledged: timeout('5m'),
  udp: timeout('30s'),
  udpStream: timeout('2m'),
  dns: timeout('10s'),
  icmp: timeout('30s'),
  generic: timeout('10m'),
});

/** As many as the largest table has by itself, so that they add nothing to what it may need. */
const BUCKETS_MAX = 4_194_304;

export const conntrack = z.strictObject({
  timeouts: timeouts.prefault({}),
  tcpLiberal: z.boolean().default(false),
  tcpLoose: z.boolean().default(true),
  perSource: z.int().min(1).optional(),
  buckets: z.int().min(16).max(BUCKETS_MAX).optional(),
});

interface Sections {
  readonly device: { readonly addresses: readonly Cidr[]; readonly queues: number };
  readonly nat: { readonly addresses: readonly string[]; readonly ports: PortRange };
  readonly listeners: readonly ListenerConfig[];
}

/** What is wrong between the sections: where, and in words. */
export function natFaults({ device, nat, listeners }: Sections) {
  const own = new Set(device.addresses.map(({ ip }) => ip));
  const poolFaults = nat.addresses.flatMap((ip, index) =>
    own.has(ip)
      ? [
          {
            path: ['nat', 'addresses', index],
            message: 'is an address of the device: the kernel would keep the replies for itself',
          },
        ]
      : [],
  );
  const listenerFaults = listeners.flatMap((rule, index) => {
    const needed = lackingFamily(rule, nat.addresses);
    if (needed === undefined) return [];
    const message = `needs ${needed} in nat.addresses, or "masquerade: false"`;
    return [{ path: ['listeners', index, 'action'], message }];
  });
  const [first, last] = nat.ports;
  // Each queue has ports of its own: queues.ts.
  const tooFew = { path: ['nat', 'ports'], message: 'are fewer than device.queues' };
  const portFaults = last - first + 1 < device.queues ? [tooFew] : [];
  return [...poolFaults, ...portFaults, ...listenerFaults];
}

/** In words, what the pool has no address of; undefined when the rule finds what it needs. */
function lackingFamily(rule: ListenerConfig, pool: readonly string[]): string | undefined {
  if (rule.action !== 'nat' || rule.masquerade === false) return undefined;
  const families = new Set(destinationsOf(rule).map(({ family }) => family));
  if (rule.to !== undefined) families.add(familyOf(rule.to.ip));
  // A rule for all destinations serves the families that there are addresses of.
  if (families.size === 0) return pool.length === 0 ? 'an address' : undefined;
  const lacking = [...families].find((family) => !pool.some((ip) => familyOf(ip) === family));
  return lacking === undefined ? undefined : `an IPv${lacking} address`;
}
