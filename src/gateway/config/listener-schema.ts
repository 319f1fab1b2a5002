/** Listeners of a config, each by itself; what it needs of other sections is in nat-schema.ts. */
import { z } from 'zod';
import { matchesPrefix, parseAddress } from '../../stack/wire/ip-address.ts';
import { type Cidr, familyOf } from './value-texts.ts';
import { cidr, duration, IDLE_MS_MAX, objectName, ports, target } from './values.ts';

/** Actions that have an upstream, and so a target and an idle time. */
const CARRIED: readonly string[] = ['forward', 'nat'];

export const listener = z
  .strictObject({
    name: objectName,
    protocol: z.enum(['tcp', 'udp', 'icmp', 'any']).default('tcp'),
    destination: z.union([cidr, z.array(cidr)]).optional(),
    ports: ports.optional(),
    action: z.enum(['forward', 'nat', 'reject', 'drop', 'prefix']),
    to: target.optional(),
    masquerade: z.boolean().optional(),
    idle: duration(1000, IDLE_MS_MAX).optional(),
    with: z.enum(['rst', 'icmp', 'tarpit']).optional(),
    via: objectName.optional(),
    inside: cidr.optional(),
    outside: cidr.optional(),
  })
  .superRefine((rule, context) => {
    for (const fault of prefixFaults(rule)) context.addIssue({ code: 'custom', ...fault });
  })
  .refine((rule) => rule.name !== 'welcome', {
    path: ['name'],
    message: 'is the name of a page of the gateway, for redirect() of scripts',
  })
  .refine((rule) => rule.to === undefined || CARRIED.includes(rule.action), {
    path: ['to'],
    message: 'is for the actions "forward" and "nat" only',
  })
  .refine((rule) => rule.idle === undefined || CARRIED.includes(rule.action), {
    path: ['idle'],
    message: 'is for the actions "forward" and "nat" only',
  })
  .refine((rule) => rule.masquerade === undefined || rule.action === 'nat', {
    path: ['masquerade'],
    message: 'is for the action "nat" only',
  })
  .refine((rule) => rule.via === undefined || rule.action === 'forward', {
    path: ['via'],
    message: 'is for the action "forward" only',
  })
  .refine((rule) => rule.with === undefined || rule.action === 'reject', {
    path: ['with'],
    message: 'is for the action "reject" only',
  })
  .refine((rule) => rule.with !== 'tarpit' || rule.protocol === 'tcp', {
    path: ['with'],
    message: '"tarpit" is for the protocol "tcp" only',
  })
  .refine((rule) => rule.ports === undefined || rule.protocol !== 'icmp', {
    path: ['ports'],
    message: 'ICMP has no ports',
  })
  .refine((rule) => rule.to?.port === undefined || rule.protocol !== 'icmp', {
    path: ['to'],
    message: 'ICMP has no ports',
  })
  .superRefine((rule, context) => {
    const { action, to } = rule;
    if (action !== 'nat' || to === undefined) return;
    const family = familyOf(to.ip);
    if (destinationsOf(rule).every((cidr) => cidr.family === family)) return;
    context.addIssue({
      code: 'custom',
      path: ['to'],
      message: `is IPv${family} and a destination is not: NAT does not change the family`,
    });
  });

export type ListenerConfig = z.output<typeof listener>;

/** RFC 6296 translates the first 64 bits at most: the rest tells hosts apart. */
const PREFIX_BITS_MAX = 64;
/** What is about flows, and packets that pass by a prefix rule are none. */
const OF_FLOWS = ['destination', 'ports'] as const;

interface PrefixParts {
  readonly action: string;
  readonly protocol: string;
  readonly destination?: unknown;
  readonly ports?: unknown;
  readonly inside?: Cidr | undefined;
  readonly outside?: Cidr | undefined;
}

/** What is wrong with the prefixes of a rule: where, and in words. */
function prefixFaults(rule: PrefixParts): { path: string[]; message: string }[] {
  const sides = ['inside', 'outside'] as const;
  if (rule.action !== 'prefix') {
    return sides.flatMap((side) =>
      rule[side] === undefined
        ? []
        : [{ path: [side], message: 'is for the action "prefix" only' }],
    );
  }
  const faults: { path: string[]; message: string }[] = sides.flatMap((side) => {
    const prefix = rule[side];
    if (prefix === undefined) return [{ path: [side], message: 'is missing' }];
    if (prefix.family === 6 && prefix.prefixLength <= PREFIX_BITS_MAX) return [];
    return [{ path: [side], message: `must be an IPv6 prefix of at most ${PREFIX_BITS_MAX} bits` }];
  });
  for (const key of OF_FLOWS) {
    if (rule[key] !== undefined) {
      faults.push({ path: [key], message: 'is not for the action "prefix"' });
    }
  }
  if (rule.protocol !== 'any') {
    faults.push({ path: ['protocol'], message: 'must be "any" with the action "prefix"' });
  }
  const { inside, outside } = rule;
  if (faults.length === 0 && inside && outside && doOverlap(inside, outside)) {
    faults.push({ path: ['outside'], message: 'overlaps with `inside`' });
  }
  return faults;
}

/** Two networks of IPv6, one of which lies in the other. */
function doOverlap(a: Cidr, b: Cidr): boolean {
  const [aBytes, bBytes] = [parseAddress(a.ip), parseAddress(b.ip)];
  if (aBytes === undefined || bBytes === undefined) return false;
  const bits = Math.min(a.prefixLength, b.prefixLength);
  return matchesPrefix(new DataView(aBytes.buffer), 0, bBytes, bits);
}

/** Empty for every destination. */
export const destinationsOf = ({ destination }: Pick<ListenerConfig, 'destination'>): Cidr[] =>
  destination === undefined ? [] : [destination].flat();
