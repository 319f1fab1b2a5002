/** `culvert config …`: the config of a gateway that runs, read and changed over its API. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { z } from 'zod';
import { configChange } from '../../supervisor/api/routes/config.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printJson } from '../output.ts';

interface ChangeFlags extends ClientFlags {
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly persist?: boolean;
  readonly ifMatch?: string;
}

/** The first line of what `get` prints, so that `put` knows which state was edited. */
const TAG_LINE = /^# etag: (".*")$/m;
const STDIN = '-';

export function addConfig(program: Command): void {
  const config = program.command('config').description('read and change the config that runs');
  withClient(config.command('get')).description('print it, without secrets').action(get);
  withChange(config.command('put <file>'))
    .description('replace it by a file; "-" reads standard input')
    .action((file: string, flags: ChangeFlags) => {
      const text = read(file);
      return send('PUT', 'application/yaml', text, TAG_LINE.exec(text)?.[1], flags);
    });
  withChange(config.command('patch <json>'))
    .description('change a part: {"log": {"level": "debug"}}, or @FILE; null takes away')
    .action((json: string, flags: ChangeFlags) => {
      const text = json.startsWith('@') ? read(json.slice(1)) : json === STDIN ? read(json) : json;
      return send('PATCH', 'application/merge-patch+json', text, undefined, flags);
    });
}

const withChange = (command: Command): Command =>
  withClient(command)
    .option('--dry-run', 'check only, and show what would differ')
    .option('--persist', 'write the config file, too')
    .option('--if-match <etag>', 'the state that was edited; that of now where none is known')
    .option('--force', 'apply also what is identical, whatever runs');

async function get(flags: ClientFlags): Promise<void> {
  const { value, etag } = await clientOf(flags).call(z.unknown(), 'GET', '/v1/config');
  if (flags.json) printJson(value);
  else print(`# etag: ${etag}\n${stringify(value).trimEnd()}`);
}

async function send(
  method: 'PUT' | 'PATCH',
  type: string,
  body: string,
  edited: string | undefined,
  flags: ChangeFlags,
): Promise<void> {
  const client = clientOf(flags);
  const known = flags.ifMatch ?? edited;
  const etag = known ?? (await client.call(z.unknown(), 'GET', '/v1/config')).etag ?? '*';
  const query = new URLSearchParams({
    ...(flags.dryRun && { dry_run: 'true' }),
    ...(flags.persist && { persist: 'true' }),
    ...(flags.force && { force: 'true' }),
  });
  const headers = { 'Content-Type': type, ...(flags.force ? {} : { 'If-Match': etag }) };
  const path = `/v1/config?${query}`;
  const { value } = await client.call(configChange, method, path, { body, headers });
  if (flags.json) printJson(value);
  else print(describe(value));
  if (!flags.persist || value.dry_run || value.persisted) return;
  const why = 'the config runs, and its file was not written: the log of the gateway says why';
  throw new CommandError(ExitCode.REFUSED, why);
}

function describe(change: z.output<typeof configChange>): string {
  const { differences, config_generation: generation } = change;
  const lines = differences.map(({ path, before, after }) => {
    const side = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value));
    return `  ${path}: ${side(before)} -> ${side(after)}`;
  });
  const head = change.dry_run
    ? `would change ${differences.length} ${differences.length === 1 ? 'place' : 'places'}`
    : change.changed
      ? `now config ${generation}${change.persisted ? ', written to its file' : ''}`
      : `nothing changed: still config ${generation}`;
  return [head, ...lines].join('\n');
}

/** @throws CommandError  usage */
function read(file: string): string {
  try {
    return readFileSync(file === STDIN ? 0 : file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CommandError(ExitCode.USAGE, `${file} cannot be read: ${code}`, { cause });
  }
}
