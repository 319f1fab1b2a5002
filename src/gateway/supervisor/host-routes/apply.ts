/** Makes routes and rules be as planned, or leaves them as they were; knows what it has made. */
import { SystemError } from '../../../ffi/errors.ts';
import { Netlink } from '../../../ffi/netlink.ts';
import {
  addRule,
  addTableRoute,
  deleteRule,
  deleteTableRoute,
  listRules,
  listTableRoutes,
} from '../../../ffi/policy-routes.ts';
import type { ListedRule } from '../../../ffi/rule-message.ts';
import { StartError } from '../start-error.ts';
import { keyOf, MAIN_TABLE, ruleCommand, type Step } from './plan.ts';
import type { RouteRecord } from './record.ts';
import { lockRecord } from './record-lock.ts';

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
  /** Rules of others with a priority or the table of ours, as ip(8) would make them. */
  readonly foreign: readonly string[];
}

/** What the kernel has. */
interface Present {
  readonly keys: ReadonlySet<string>;
  readonly rules: readonly ListedRule[];
}

/** Compares with the kernel; a device that is not there has no routes. @throws SystemError */
export function compareRoutes(
  wanted: readonly Step[],
  device: string,
  record: RouteRecord,
): RouteDifference {
  using netlink = new Netlink();
  const ours = record.read();
  const steps = [...wanted, ...ours];
  const present = presentOf(netlink, steps, indexOf(netlink, device));
  const wantedKeys = new Set(wanted.map(keyOf));
  return {
    ours,
    made: wanted.filter((step) => !present.keys.has(keyOf(step))),
    kept: wanted.filter((step) => present.keys.has(keyOf(step))),
    removed: ours.filter((step) => !wantedKeys.has(keyOf(step))).reverse(),
    foreign: foreignRules(present.rules, steps),
  };
}

/** What was done, and what could not be. */
export interface RouteOutcome extends RouteChange {
  /** Why something was not removed: it is in the record still. */
  readonly failure: SystemError | undefined;
}

/**
 * Makes what is missing and removes what we made and is not wanted any more; done again, it does
 * nothing. Where a step fails, what this call has made is taken back; what cannot be taken away is
 * left and stays in the record.
 *
 * @throws SystemError  `EPERM`, `ENODEV` without the device, `EEXIST` for what belongs to others
 * @throws StartError   the record cannot be kept; `ROUTES_LOCKED`: another process is at it
 */
export function applyRoutes(
  wanted: readonly Step[],
  device: string,
  record: RouteRecord,
): RouteChange {
  // Two that read and then write the record would forget what the other has made.
  using _ = lockRecord(record, wanted.length > 0);
  const { failure, ...change } = applyLocked(wanted, device, record);
  if (failure !== undefined) throw failure;
  return change;
}

/**
 * The same for who has the lock of the record. What cannot be removed is no error: it is told.
 *
 * @throws SystemError, StartError  all is as it was
 */
export function applyLocked(
  wanted: readonly Step[],
  device: string,
  record: RouteRecord,
): RouteOutcome {
  using netlink = new Netlink();
  const { ours, made, kept, removed } = compareRoutes(wanted, device, record);
  const noted = new RecordedSteps(record, ours);
  // Before the first step: should this process die in the middle, the next one knows.
  noted.write([...ours, ...made]);
  addAll(netlink, made, device, (left) => noted.write([...ours, ...left]));
  const { left, failure } = removeAll(netlink, removed, device);
  const keys = new Set(ours.map(keyOf));
  noted.write([...kept.filter((step) => keys.has(keyOf(step))), ...made, ...left.toReversed()]);
  const stay = new Set(left);
  return { made, removed: removed.filter((step) => !stay.has(step)), kept, failure };
}

/** Takes back what was made, and nothing else. @throws SystemError `EPERM` */
export const undoRoutes = (device: string, record: RouteRecord): readonly Step[] =>
  applyRoutes([], device, record).removed;

/** Writes what is news only: its folder may be one whose changes cause a reload. */
class RecordedSteps {
  readonly #record: RouteRecord;
  #keys: ReadonlySet<string>;

  constructor(record: RouteRecord, steps: readonly Step[]) {
    this.#record = record;
    this.#keys = new Set(steps.map(keyOf));
  }

  /** What is there twice, as it was lost and made again, is written once. @throws StartError */
  write(steps: readonly Step[]): void {
    const byKey = new Map(steps.map((step) => [keyOf(step), step]));
    const keys = new Set(byKey.keys());
    // A file that means nothing any more, as it is of before a reboot, goes.
    if (keys.size > 0 && Bun.deepEquals(keys, this.#keys)) return;
    this.#record.write([...byKey.values()]);
    this.#keys = keys;
  }
}

/** @param onFailure  gets those that were made and cannot be taken back */
function addAll(
  netlink: Netlink,
  steps: readonly Step[],
  device: string,
  onFailure: (left: readonly Step[]) => void,
): void {
  const done: Step[] = [];
  try {
    const index = steps.some(isAtDevice) ? netlink.linkIndex(device) : 0;
    for (const step of steps) {
      add(netlink, step, index);
      done.push(step);
    }
  } catch (error) {
    const { left } = removeAll(netlink, done.reverse(), device);
    try {
      onFailure(left);
    } catch (unwritten) {
      // The record names more than was made then, which harms nobody: why it failed is the news.
      if (!(unwritten instanceof StartError)) throw unwritten;
    }
    throw error;
  }
}

/** Each one that can be: what others have done to one must not keep the rest. */
function removeAll(netlink: Netlink, steps: readonly Step[], device: string) {
  const left: Step[] = [];
  let failure: SystemError | undefined;
  for (const step of steps) {
    try {
      remove(netlink, step, indexOf(netlink, device));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      left.push(step);
      failure ??= error;
    }
  }
  return { left, failure };
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

/** All rules, and keys of those that we could have made and of routes in the tables of `steps`. */
function presentOf(netlink: Netlink, steps: readonly Step[], index: number): Present {
  const keys = new Set<string>();
  const rules = ([4, 6] as const).flatMap((family) => listRules(netlink, family));
  for (const { rule, beyond } of rules) {
    if (beyond.length === 0) keys.add(keyOf({ kind: 'rule', rule }));
  }
  for (const family of [4, 6] as const) {
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
  return { keys, rules };
}

/** They may take packets before our rules do, or out of our table. */
function foreignRules(rules: readonly ListedRule[], steps: readonly Step[]): string[] {
  const tables = new Set(steps.map((step) => tableOf(step)));
  const priorities = new Set(
    steps.flatMap((step) => (step.kind === 'rule' ? [step.rule.priority] : [])),
  );
  tables.delete(MAIN_TABLE);
  const keys = new Set(steps.map(keyOf));
  return rules.flatMap(({ rule, beyond }) => {
    const isNear = tables.has(rule.table) || priorities.has(rule.priority);
    const isOurs = beyond.length === 0 && keys.has(keyOf({ kind: 'rule', rule }));
    return isNear && !isOurs ? [ruleCommand(rule, 'add', beyond)] : [];
  });
}

const tableOf = (step: Step): number => (step.kind === 'rule' ? step.rule.table : step.route.table);

/** 0 where there is no such interface. */
function indexOf(netlink: Netlink, device: string): number {
  try {
    return netlink.linkIndex(device);
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ENODEV') return 0;
    throw error;
  }
}
