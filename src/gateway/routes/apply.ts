/** Makes routes and rules be as planned, or leaves them as they were; knows what it has made. */
import { SystemError } from '../../ffi/errors.ts';
import { Netlink } from '../../ffi/netlink.ts';
import {
  addRule,
  addTableRoute,
  deleteRule,
  deleteTableRoute,
  listRules,
  listTableRoutes,
} from '../../ffi/policy-routes.ts';
import { keyOf, type Step } from './plan.ts';
import type { RouteRecord } from './record.ts';

export interface RouteChange {
  readonly made: readonly Step[];
  readonly removed: readonly Step[];
  /** Were there already. */
  readonly kept: readonly Step[];
}

/** What would be made and removed so that `wanted` holds. */
export interface RouteDifference extends RouteChange {
  /** Made by us in the past. */
  readonly ours: readonly Step[];
}

/** Compares with the kernel; a device that is not there has no routes. @throws SystemError */
export function compareRoutes(
  wanted: readonly Step[],
  device: string,
  record: RouteRecord,
): RouteDifference {
  using netlink = new Netlink();
  const ours = record.read();
  const present = presentKeys(netlink, [...wanted, ...ours], indexOf(netlink, device));
  const wantedKeys = new Set(wanted.map(keyOf));
  return {
    ours,
    made: wanted.filter((step) => !present.has(keyOf(step))),
    kept: wanted.filter((step) => present.has(keyOf(step))),
    removed: ours.filter((step) => !wantedKeys.has(keyOf(step))).reverse(),
  };
}

/**
 * Makes what is missing and removes what we made and is not wanted any more; done again, it does
 * nothing. Where a step fails, what this call has made is taken back.
 *
 * @throws SystemError  `EPERM`, `ENODEV` without the device, `EEXIST` for what belongs to others
 * @throws StartError   the record cannot be kept
 */
export function applyRoutes(
  wanted: readonly Step[],
  device: string,
  record: RouteRecord,
): RouteChange {
  using netlink = new Netlink();
  const { ours, made, kept, removed } = compareRoutes(wanted, device, record);
  // Before the first step: should this process die in the middle, the next one knows.
  if (made.length > 0) record.write([...ours, ...made]);
  addAll(netlink, made, device, () => record.write(ours));
  for (const step of removed) remove(netlink, step, indexOf(netlink, device));
  const keys = new Set(ours.map(keyOf));
  record.write([...kept.filter((step) => keys.has(keyOf(step))), ...made]);
  return { made, removed, kept };
}

/** Takes back what was made, and nothing else. @throws SystemError `EPERM` */
export const undoRoutes = (device: string, record: RouteRecord): readonly Step[] =>
  applyRoutes([], device, record).removed;

function addAll(
  netlink: Netlink,
  steps: readonly Step[],
  device: string,
  onFailure: () => void,
): void {
  const done: Step[] = [];
  const index = steps.some(isAtDevice) ? netlink.linkIndex(device) : 0;
  try {
    for (const step of steps) {
      add(netlink, step, index);
      done.push(step);
    }
  } catch (error) {
    for (const step of done.reverse()) remove(netlink, step, index);
    onFailure();
    throw error;
  }
}

function add(netlink: Netlink, step: Step, index: number): void {
  if (step.kind === 'rule') addRule(netlink, step.rule);
  else addTableRoute(netlink, { ...step.route, interfaceIndex: isAtDevice(step) ? index : 0 });
}

/** A route into a device that is gone is gone with it; what has its place is not ours. */
function remove(netlink: Netlink, step: Step, index: number): void {
  if (step.kind === 'rule') deleteRule(netlink, step.rule);
  else if (!isAtDevice(step)) deleteTableRoute(netlink, { ...step.route, interfaceIndex: 0 });
  else if (index > 0) deleteTableRoute(netlink, { ...step.route, interfaceIndex: index });
}

const isAtDevice = (step: Step): boolean => step.kind === 'route' && step.route.kind === 'unicast';

/** Keys of all rules, and of the routes of the tables that are spoken of. */
function presentKeys(netlink: Netlink, steps: readonly Step[], index: number): Set<string> {
  const keys = new Set<string>();
  for (const family of [4, 6] as const) {
    for (const rule of listRules(netlink, family)) keys.add(keyOf({ kind: 'rule', rule }));
    const tables = new Set(
      steps.flatMap((step) =>
        step.kind === 'route' && step.route.family === family ? [step.route.table] : [],
      ),
    );
    for (const table of tables) {
      for (const route of listTableRoutes(netlink, family, table)) {
        if (route.kind === 'unicast' && route.interfaceIndex !== index) continue;
        keys.add(keyOf({ kind: 'route', route }));
      }
    }
  }
  return keys;
}

/** 0 where there is no such interface. */
function indexOf(netlink: Netlink, device: string): number {
  try {
    return netlink.linkIndex(device);
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ENODEV') return 0;
    throw error;
  }
}
