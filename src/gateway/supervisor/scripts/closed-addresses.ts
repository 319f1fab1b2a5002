/** Where no script may connect, in the form of its list `allow`: to the gateway itself. */

import { parseAdminAddress } from '../../config/admin-address.ts';
import type { Config } from '../../config/schema.ts';

/** All addresses of a machine have the port then. */
const WILDCARDS: readonly string[] = ['0.0.0.0', '::'];

export function closedAddresses({ admin, device, local, nat }: Config): string[] {
  const own = [...device.addresses.map(({ ip }) => ip), ...local.addresses, ...nat.addresses].map(
    (ip) => `${hostOf(ip)}:*`,
  );
  const address = parseAdminAddress(admin.listen);
  if (address?.kind !== 'tcp') return own;
  const { ip, port } = address;
  return [...own, `${WILDCARDS.includes(ip) ? '*' : hostOf(ip)}:${port}`];
}

const hostOf = (ip: string): string => (ip.includes(':') ? `[${ip}]` : ip);
