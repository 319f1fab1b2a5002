/** `culvert log-level`: how much is logged, for a while. */
import type { Command } from 'commander';
import { logLevel } from '../../supervisor/api/routes/log-level.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printJson } from '../output.ts';

interface LogLevelFlags extends ClientFlags {
  readonly for?: string;
}

const PATH = '/v1/log-level';

export function addLogLevel(program: Command): void {
  withClient(program.command('log-level [level]'))
    .description(
      'show how much is logged; debug, info, warn, error or silent; "config" for its own',
    )
    .option('--for <duration>', 'then the level of the config comes back; 0s: when asked to (10m)')
    .action(async (level: string | undefined, flags: LogLevelFlags) => {
      const { value } = await ask(level, flags);
      if (flags.json) printJson(value);
      else if (value.level === value.configured) print(`${value.level}, as the config says`);
      else print(`${value.level} until ${value.until ?? 'asked'}, then ${value.configured}`);
    });
}

function ask(level: string | undefined, flags: LogLevelFlags) {
  const client = clientOf(flags);
  if (level === undefined) return client.call(logLevel, 'GET', PATH);
  if (level === 'config') return client.call(logLevel, 'DELETE', PATH);
  const query = new URLSearchParams({ level, ...(flags.for !== undefined && { for: flags.for }) });
  return client.call(logLevel, 'PUT', `${PATH}?${query}`);
}
