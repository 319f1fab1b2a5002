/** `culvert script …`: work on files offline; list, put, remove and roll back over the API. */
import { basename, dirname, posix, resolve } from 'node:path';
import type { Command } from 'commander';
import { DEFAULT_SCRIPT_LIMITS } from '../../../scripts-runtime/limits.ts';
import { OFFLINE_DEVICE, readScriptFile } from '../../author/script-sources.ts';
import { change, scripts as scriptsSchema } from '../../supervisor/api/schemas.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { formatScriptIssue } from '../../supervisor/generations.ts';
import { tryScripts } from '../../supervisor/script-check.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printError, printJson } from '../output.ts';
import type { Finish } from '../program.ts';
import { changeQuery, describeChange } from './reload.ts';
import { addScriptReplay } from './script-replay.ts';
import { addScriptTest } from './script-test.ts';
import { formatScripts } from './status.ts';

interface ChangeFlags extends ClientFlags {
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly to?: string;
}

interface PutFlags extends ChangeFlags {
  readonly root?: string;
}

interface CheckFlags {
  readonly json?: boolean;
  readonly root?: string;
}

export function addScript(program: Command, finish: Finish): void {
  const script = program.command('script').description('write, test, list and change scripts');
  script
    .command('check <file...>')
    .description('load scripts in a sandbox and say what is wrong; needs no gateway')
    .option('--json', 'print JSON')
    .option('--root <folder>', 'also import files below this folder')
    .action(async (files: string[], flags: CheckFlags) => finish(await checkFiles(files, flags)));
  addScriptTest(script, finish);
  addScriptReplay(script, finish);
  withClient(script.command('list'))
    .description('list scripts in the order of asking')
    .action(list);
  withChange(script.command('put <name> <file>'))
    .description('replace a script with what it imports and its tests, or add it at the end')
    .option('--root <folder>', 'also import files below this folder')
    .action((name: string, file: string, flags: PutFlags) =>
      apply(flags, 'PUT', `/v1/scripts/${encodeURIComponent(name)}`, bodyOf(name, file, flags)),
    );
  withChange(script.command('remove <name>'))
    .description('remove a script')
    .action((name: string, flags: ChangeFlags) =>
      apply(flags, 'DELETE', `/v1/scripts/${encodeURIComponent(name)}`),
    );
  withChange(script.command('rollback'))
    .description('activate an old generation as a new one')
    .option('--to <generation>', 'its number; without: the one before')
    .action((flags: ChangeFlags) => apply(flags, 'POST', '/v1/rollback'));
}

const withChange = (command: Command): Command =>
  withClient(command)
    .option('--force', 'apply also what is identical')
    .option('--dry-run', 'check only');

async function checkFiles(
  files: readonly string[],
  { json: isJson, root }: CheckFlags,
): Promise<ExitCode> {
  const scripts = files.map((file) => readScriptFile(file, root));
  const content = { scripts, vars: {}, limits: DEFAULT_SCRIPT_LIMITS };
  const issues = await tryScripts(content, OFFLINE_DEVICE);
  if (isJson) printJson({ ok: issues.length === 0, issues });
  else if (issues.length === 0) print(`${files.join(', ')}: ok`);
  else for (const issue of issues) printError(formatScriptIssue(issue));
  return issues.length === 0 ? ExitCode.OK : ExitCode.FAILED;
}

async function list(flags: ClientFlags): Promise<void> {
  const { value } = await clientOf(flags).call(scriptsSchema, 'GET', '/v1/scripts');
  if (flags.json) printJson(value);
  else if (value.scripts.length === 0) print('no scripts are loaded');
  else print(formatScripts(value.scripts));
}

async function apply(
  flags: ChangeFlags,
  method: string,
  path: string,
  body?: string,
): Promise<void> {
  const query = new URLSearchParams(changeQuery(flags));
  if (flags.to !== undefined) query.set('to', flags.to);
  const options =
    body === undefined ? {} : { body, headers: { 'Content-Type': 'application/json' } };
  const result = await clientOf(flags).change(change, method, `${path}?${query}`, options);
  if (flags.json) printJson(result);
  else print(describeChange(result));
}

/** As the API takes it: paths are from the folder that the files share. */
function bodyOf(name: string, file: string, { root }: PutFlags): string {
  const { source, modules = {}, tests = {} } = readScriptFile(file, root, name);
  const depth = Math.max(
    0,
    ...[...Object.keys(modules), ...Object.keys(tests)].map((path) => path.split('../').length - 1),
  );
  const folders = resolve(dirname(file)).split('/');
  const prefix = depth === 0 ? '' : folders.slice(-depth).join('/');
  const placed = (texts: Readonly<Record<string, string>>) =>
    Object.fromEntries(
      Object.entries(texts).map(([path, text]) => [posix.join(prefix, path), text]),
    );
  const entry = posix.join(prefix, basename(file));
  return JSON.stringify({
    entry,
    files: { [entry]: source, ...placed(modules) },
    ...(Object.keys(tests).length > 0 && { tests: placed(tests) }),
  });
}
