/** The section `routes` of a config: what the host sends into the device. */
import { z } from 'zod';
import { deviceName } from './device-schema.ts';
import { parseCidr } from './value-texts.ts';
import { cidr } from './values.ts';

/**
 * Table, first rule and mark where nothing else is said: numbers that nobody else is known to use,
 * and equal, so that they are recognized in `ip rule`.
 */
const RARE_NUMBER = 7100;
/** Rules of ours are looked at before that of the main table, which has 32766. */
const PRIORITY_MAX = 32_760;
const TABLE_MAX = 2 ** 32 - 1;
/** unspec, default, main and local of /etc/iproute2/rt_tables. */
const RESERVED_TABLES: readonly number[] = [0, 253, 254, 255];

export const routes = z
  .strictObject({
    auto: z.boolean().default(false),
    include: z.array(cidr).optional(),
    exclude: z.array(cidr).prefault([]),
    interfaces: z.array(deviceName).prefault([]),
    table: z
      .int()
      .min(1)
      .max(TABLE_MAX)
      .refine((table) => !RESERVED_TABLES.includes(table), 'is a table of the system')
      .default(RARE_NUMBER),
    priority: z.int().min(1).max(PRIORITY_MAX).default(RARE_NUMBER),
  })
  .transform((value) => ({
    ...value,
    include: value.include ?? (value.auto ? everything() : []),
    /** Nobody asked for this family by name, so that a host without it is no error. */
    isEverything: value.include === undefined,
  }));

export type RoutesConfig = z.output<typeof routes>;

const everything = () => ['0.0.0.0/0', '::/0'].flatMap((text) => parseCidr(text) ?? []);

interface Sections {
  readonly routes: RoutesConfig;
  readonly egress: { readonly fwmark: number; readonly interface: string };
}

/** What is routed into the device must not take the gateway's own dials with it. */
export function withRouteMark<Egress extends Sections['egress']>({
  routes: { include },
  egress,
}: Pick<Sections, 'routes'> & { readonly egress: Egress }): Egress {
  const isLost = include.length > 0 && egress.fwmark === 0 && egress.interface === '';
  return isLost ? { ...egress, fwmark: RARE_NUMBER } : egress;
}
