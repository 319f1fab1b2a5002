/** `culvert route`: what the host sends into the device, shown, made and taken back. */
import type { Command } from 'commander';
import { SystemError } from '../../../ffi/errors.ts';
import { loadConfig } from '../../config/default-config.ts';
import { parseDeviceSource } from '../../config/device-schema.ts';
import type { Config } from '../../config/schema.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import {
  applyRoutes,
  compareRoutes,
  type RouteChange,
  undoRoutes,
} from '../../supervisor/host-routes/apply.ts';
import { hostFamilies } from '../../supervisor/host-routes/families.ts';
import { recordOf } from '../../supervisor/host-routes/host-routes.ts';
import { checkLoops, type RouteWarning } from '../../supervisor/host-routes/loop-check.ts';
import { ipCommand, keyOf, planRoutes, type RoutePlan } from '../../supervisor/host-routes/plan.ts';
import { CommandError } from '../command-error.ts';
import { type ConfigFlags, configSource, withConfig } from '../options.ts';
import { print, printError, printJson } from '../output.ts';

interface RouteFlags extends ConfigFlags {
  readonly json?: boolean;
  readonly dryRun?: boolean;
}

export function addRoute(program: Command): void {
  const route = program
    .command('route')
    .description('route into the device what the section "routes" of the config says');
  withConfig(route.command('plan'))
    .description('print the ip commands that would do the same, and what is missing of it')
    .option('--json', 'print JSON')
    .action(plan);
  withConfig(route.command('apply'))
    .description('make what is missing, all of it or nothing; done again, it does nothing')
    .option('--dry-run', 'only print what would be done')
    .option('--json', 'print JSON')
    .action(apply);
  withConfig(route.command('undo'))
    .description('take back what was made, by `apply` or by a gateway that has crashed')
    .option('--dry-run', 'only print what would be done')
    .option('--json', 'print JSON')
    .action(undo);
}

function plan(flags: RouteFlags): void {
  const { planned, record, warnings } = prepare(flags);
  const { steps, device, table, priority, mark } = planned;
  const { made, removed, foreign } = compareRoutes(steps, device, record);
  const missing = new Set(made.map(keyOf));
  if (flags.json) {
    const described = steps.map((step) => ({
      command: ipCommand(step, device),
      present: !missing.has(keyOf(step)),
    }));
    const obsolete = removed.map((step) => ipCommand(step, device, 'del'));
    printJson({ device, table, priority, mark, steps: described, obsolete, foreign, warnings });
    return;
  }
  const marked = mark === 0 ? '' : `, 0x${mark.toString(16)} marks the dials of the gateway`;
  print(`# device ${device}, table ${table}, rules from ${priority}${marked}`);
  if (steps.length === 0) print('# nothing: routes.include is empty, and routes.auto is not set');
  for (const step of steps) {
    const isPresent = !missing.has(keyOf(step));
    print(`${ipCommand(step, device)}${isPresent ? '  # is there' : ''}`);
  }
  for (const step of removed) print(`${ipCommand(step, device, 'del')}  # is not wanted any more`);
  for (const command of foreign) print(`# of others, left alone: ${command}`);
  warn(warnings);
}

function apply(flags: RouteFlags): void {
  const { planned, record, loaded } = prepare(flags);
  const { steps, device } = planned;
  const change = flags.dryRun
    ? compareRoutes(steps, device, record)
    : withHint(device, () => applyRoutes(steps, device, record));
  report(change, planned, flags, checkLoops(loaded.config, device));
}

function undo(flags: RouteFlags): void {
  const { planned, record } = prepare(flags);
  const { device } = planned;
  const removed = flags.dryRun
    ? compareRoutes([], device, record).removed
    : undoRoutes(device, record);
  report({ made: [], kept: [], removed }, planned, flags, []);
}

function prepare(flags: RouteFlags) {
  const loaded = loadConfig(configSource(flags));
  const device = interfaceOf(loaded.config);
  const planned = planRoutes(loaded.config, device, hostFamilies(loaded.config, device));
  const record = recordOf(loaded, flags.workdir, device);
  return { loaded, planned, record, warnings: checkLoops(loaded.config, device) };
}

/** @throws CommandError  for a device that has no name before it is handed over */
function interfaceOf({ device }: Config): string {
  const source = parseDeviceSource(device.name);
  if (source.kind === 'interface') return source.name;
  const why = `${device.name} has no name yet: use routes.auto, or name it by --device`;
  throw new CommandError(ExitCode.FAILED, why);
}

function report(
  { made, removed, kept }: RouteChange,
  { device }: RoutePlan,
  { json, dryRun = false }: RouteFlags,
  warnings: readonly RouteWarning[],
): void {
  const commands = [
    ...made.map((step) => ipCommand(step, device)),
    ...removed.map((step) => ipCommand(step, device, 'del')),
  ];
  if (json) {
    printJson({ dry_run: dryRun, commands, kept: kept.length, warnings });
    return;
  }
  for (const command of commands) print(command);
  if (commands.length === 0) print(`# nothing to do, ${kept.length} are there`);
  warn(warnings);
}

const warn = (warnings: readonly RouteWarning[]): void => {
  for (const { message } of warnings) printError(`warning: ${message}`);
};

/** @throws CommandError  where the device is not there yet */
function withHint<T>(device: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof SystemError) || cause.code !== 'ENODEV') throw cause;
    const why = `there is no device ${device}: \`culvert run\` makes it`;
    throw new CommandError(ExitCode.FAILED, why, { cause });
  }
}
