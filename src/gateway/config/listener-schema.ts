/** Listeners of a config, each by itself; what it needs of other sections is in nat-schema.ts. */
import { z } from 'zod';
import type { Cidr } from './value-texts.ts';
import { cidr, duration, IDLE_MS_MAX, objectName, ports, target } from './values.ts';

/** Actions that have an upstream, and so a target and an idle time. */
const CARRIED: readonly string[] = ['forward', 'nat'];

export const listener = z
  .strictObject({
    name: objectName,
    protocol: z.enum(['tcp', 'udp', 'icmp', 'any']).default('tcp'),
    destination: z.union([cidr, z.array(cidr)]).optional(),
    ports: ports.optional(),
    action: z.enum(['forward', 'nat', 'reject', 'drop']),
    to: target.optional(),
    masquerade: z.boolean().optional(),
    idle: duration(1000, IDLE_MS_MAX).optional(),
    with: z.enum(['rst', 'icmp']).optional(),
    via: objectName.optional(),
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

/** Empty for every destination. */
export const destinationsOf = ({ destination }: Pick<ListenerConfig, 'destination'>): Cidr[] =>
  destination === undefined ? [] : [destination].flat();

export const familyOf = (ip: string): 4 | 6 => (ip.includes(':') ? 6 : 4);
