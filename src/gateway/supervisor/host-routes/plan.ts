/**
 * What the host sends into the device, as routes of a table of its own and policy rules in front of
 * the main table. All of it goes away without a trace, and nothing of others is touched.
 *
 * Of the families that are asked for, and for each input interface where there are some:
 *
 *   P    not fwmark M  lookup T     suppress_prefixlength 0   networks that are included
 *   P+1  not fwmark M  lookup main  suppress_prefixlength 0   networks that the host knows
 *   P+2  not fwmark M  lookup T                               everything, where it is included
 *
 * Without "everything" in the list the third rule is enough. What is excluded is a route that
 * throws: the look-up goes on with the next rule. The mark is that of the gateway's own dials,
 * which go on as if there were no rules. Dials that are bound to an interface need no mark: a route
 * by another interface does not count for them.
 */
import type { TableRoute } from '../../../ffi/policy-routes.ts';
import type { PolicyRule } from '../../../ffi/rule-message.ts';
import { formatAddress, parseAddress } from '../../../stack/wire/ip-address.ts';
import type { Config } from '../../config/schema.ts';
import type { Cidr } from '../../config/value-texts.ts';
import { maskHostBits } from '../device/device-setup.ts';

export const MAIN_TABLE = 254;

/** A route that does not know yet which number its interface has. */
export type PlannedRoute = Omit<TableRoute, 'interfaceIndex'>;
export type Step =
  | { readonly kind: 'route'; readonly route: PlannedRoute }
  | { readonly kind: 'rule'; readonly rule: PolicyRule };

export interface RoutePlan {
  readonly device: string;
  readonly table: number;
  readonly priority: number;
  /** Of the gateway's own dials; 0 where they are bound to an interface. */
  readonly mark: number;
  /** In the order in which they are made: rules last, so that no packet meets an empty table. */
  readonly steps: readonly Step[];
}

/**
 * @param device    name of the interface
 * @param families  that the host has
 */
export function planRoutes(
  config: Config,
  device: string,
  families: readonly (4 | 6)[] = [4, 6],
): RoutePlan {
  const { routes, egress } = config;
  const planned = families.filter((family) => routes.include.some((net) => net.family === family));
  return {
    device,
    table: routes.table,
    priority: routes.priority,
    mark: egress.fwmark,
    steps: [
      ...planned.flatMap((family) => routesOf(config, family)),
      ...planned.flatMap((family) => rulesOf(config, family)),
    ],
  };
}

/** The address of a network as the kernel wants it: without host bits. */
export const bytesOf = ({ ip, prefixLength }: Cidr): Uint8Array =>
  maskHostBits(parseAddress(ip) ?? new Uint8Array(), prefixLength);

export const addressText = ({ destination }: PlannedRoute): string =>
  formatAddress(
    new DataView(destination.buffer, destination.byteOffset),
    0,
    destination.length === 4 ? 4 : 16,
  );

/** Of two steps that are the same. */
export const keyOf = (step: Step): string => JSON.stringify(textOf(step));

/** The step as `ip` would do it; `del` takes it back. */
export function ipCommand(step: Step, device: string, verb: 'add' | 'del' = 'add'): string {
  if (step.kind === 'route') {
    const { family, table, kind } = step.route;
    const network = networkText(step.route);
    const where = kind === 'throw' ? `throw ${network}` : `${network} dev ${device}`;
    return `ip -${family} route ${verb} ${where} table ${table} proto static`;
  }
  return `${ruleCommand(step.rule, verb)} protocol static`;
}

/** @param beyond  what a rule of others asks for that ours do not, in words of ip-rule(8) */
export function ruleCommand(
  { family, priority, table, exceptMark, inputInterface, suppressPrefixLength }: PolicyRule,
  verb: 'add' | 'del',
  beyond: readonly string[] = [],
): string {
  return [
    `ip -${family} rule ${verb}`,
    ...(exceptMark === undefined ? [] : [`not fwmark 0x${exceptMark.toString(16)}`]),
    ...beyond,
    ...(inputInterface === undefined ? [] : [`iif ${inputInterface}`]),
    `lookup ${table === MAIN_TABLE ? 'main' : table}`,
    ...(suppressPrefixLength === undefined
      ? []
      : [`suppress_prefixlength ${suppressPrefixLength}`]),
    `priority ${priority}`,
  ].join(' ');
}

function routesOf({ routes }: Config, family: 4 | 6): Step[] {
  const { table, include, exclude } = routes;
  const step = (net: Cidr, kind: PlannedRoute['kind']): Step => {
    const { prefixLength } = net;
    return {
      kind: 'route',
      route: { family, destination: bytesOf(net), prefixLength, table, kind },
    };
  };
  const of = (list: readonly Cidr[]) => list.filter((net) => net.family === family);
  // First what goes on as before, so that there is no moment in which it does not.
  const steps = [
    ...of(exclude).map((net) => step(net, 'throw')),
    ...of(include).map((net) => step(net, 'unicast')),
  ];
  const known = new Set<string>();
  return steps.filter((one) => {
    const network = one.kind === 'route' ? networkText(one.route) : '';
    // The table has one route to each network; excluding wins.
    return !known.has(network) && known.add(network);
  });
}

function rulesOf({ routes, egress }: Config, family: 4 | 6): Step[] {
  const { table, priority, include, interfaces } = routes;
  const isDefault = include.some((net) => net.family === family && net.prefixLength === 0);
  const selectors: Pick<PolicyRule, 'exceptMark' | 'inputInterface'>[] =
    interfaces.length > 0
      ? // What comes in is not marked by us; "not" would turn the whole selector round.
        interfaces.map((inputInterface) => ({ inputInterface }))
      : [egress.fwmark === 0 ? {} : { exceptMark: egress.fwmark }];
  return selectors.flatMap((selector): Step[] => {
    const rule = (offset: number, lookup: number, suppressPrefixLength?: number): Step => ({
      kind: 'rule',
      rule: {
        ...{ family, priority: priority + offset, table: lookup },
        ...selector,
        ...(suppressPrefixLength === undefined ? {} : { suppressPrefixLength }),
      },
    });
    const all = rule(2, table);
    // The last one made takes everything: what the host knows better is out of its way by then.
    return isDefault ? [rule(1, MAIN_TABLE, 0), rule(0, table, 0), all] : [all];
  });
}

function networkText(route: PlannedRoute): string {
  const { prefixLength } = route;
  return prefixLength === 0 ? 'default' : `${addressText(route)}/${prefixLength}`;
}

function textOf(step: Step): object {
  if (step.kind === 'route') {
    const { family, table, kind } = step.route;
    return ['route', family, networkText(step.route), table, kind];
  }
  const { family, priority, table, exceptMark, inputInterface, suppressPrefixLength } = step.rule;
  return ['rule', family, priority, table, exceptMark, inputInterface, suppressPrefixLength];
}
