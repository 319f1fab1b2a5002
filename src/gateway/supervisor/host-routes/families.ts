/** Which families the host has: not every kernel has IPv6, and not every operator wants it. */
import { existsSync, readFileSync } from 'node:fs';
import type { Config } from '../../config/schema.ts';

/**
 * The families to plan for. Where everything is routed and nobody has named IPv6, a host without it
 * is left in peace; where it was named, the kernel's refusal is an error.
 */
export function hostFamilies({ routes }: Config, device: string): readonly (4 | 6)[] {
  if (!routes.isEverything) return [4, 6];
  return [4, ...(isIpv6Disabled(device) ? [] : [6 as const])];
}

function isIpv6Disabled(device: string): boolean {
  if (!existsSync('/proc/net/if_inet6')) return true;
  const own = `/proc/sys/net/ipv6/conf/${device}/disable_ipv6`;
  const file = existsSync(own) ? own : '/proc/sys/net/ipv6/conf/default/disable_ipv6';
  return existsSync(file) && readFileSync(file, 'utf8').trim() === '1';
}
