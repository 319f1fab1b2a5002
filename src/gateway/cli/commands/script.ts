/** `culvert script …`: work on files offline; list, put, remove and roll back over the API. */
import { basename, dirname, posix, resolve } from 'node:path';
import type { Command } from 'commander';
import { DEFAULT_SCRIPT_LIMITS } from '../../../scripts-runtime/limits.ts';
import { OFFLINE_DEVICE, readScriptFile } from '../../author/script-sources.ts';
import { checkTypes } from '../../author/type-check.ts';
import {
  change,
  scripts as scriptsSchema,
  trial as trialSchema,
} from '../../supervisor/api/schemas.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { formatScriptIssue } from '../../supervisor/scripts/change-errors.ts';
import { tryScripts } from '../../supervisor/scripts/script-check.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printError, printJson } from '../output.ts';
import type { Finish } from '../program.ts';
import { type ChangeFlags, changeQuery, describeChange, withChangeFlags } from './reload.ts';
import { addScriptNew } from './script-new.ts';
import { addScriptRepl } from './script-repl.ts';
import { addScriptReplay } from './script-replay.ts';
import { addScriptTest } from './script-test.ts';
import { formatScripts } from './status.ts';

interface ScriptFlags extends ClientFlags, ChangeFlags {
  readonly to?: string;
}

interface PutFlags extends ScriptFlags {
  readonly root?: string;
}

interface CheckFlags {
  readonly json?: boolean;
  readonly root?: string;
}

export function addScript(program: Command, finish: Finish): void {
  const script = program.command('script').description('write, test, list and change scripts');
  addScriptNew(script);
  script
    .command('check <file...>')
    .description('load scripts in a sandbox and say what is wrong; with tsc on the PATH, types too')
    .option('--json', 'print JSON')
    .option('--root <folder>', 'also import files below this folder')
    .action(async (files: string[], flags: CheckFlags) => finish(await checkFiles(files, flags)));
  addScriptTest(script, finish);
  addScriptReplay(script, finish);
  addScriptRepl(script);
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
    .action((name: string, flags: ScriptFlags) =>
      apply(flags, 'DELETE', `/v1/scripts/${encodeURIComponent(name)}`),
    );
  withChange(script.command('rollback'))
    .description('activate an old generation as a new one')
    .option('--to <generation>', 'its number; without: the one before')
    .action((flags: ScriptFlags) => apply(flags, 'POST', '/v1/rollback'));
  withClient(script.command('trial'))
    .description('show how the canary or shadow does')
    .action(showTrial);
  withClient(script.command('promote'))
    .description('make the bundle on trial the active one')
    .action((flags: ScriptFlags) => apply(flags, 'POST', '/v1/trial/promote'));
  withClient(script.command('abort'))
    .description('end the trial; the active bundle stays')
    .action((flags: ScriptFlags) => apply(flags, 'POST', '/v1/trial/abort'));
}

const withChange = (command: Command): Command => withChangeFlags(withClient(command));

async function checkFiles(
  files: readonly string[],
  { json: isJson, root }: CheckFlags,
): Promise<ExitCode> {
  const scripts = files.map((file) => readScriptFile(file, root));
  const content = { scripts, vars: {}, limits: DEFAULT_SCRIPT_LIMITS };
  const types = checkTypes(new Map(scripts.map(({ name, file }) => [name, file])));
  const issues = [...(await tryScripts(content, OFFLINE_DEVICE)), ...(types ?? [])];
  const areTypesChecked = types !== undefined;
  if (isJson) printJson({ ok: issues.length === 0, types_checked: areTypesChecked, issues });
  else if (issues.length > 0) for (const issue of issues) printError(formatScriptIssue(issue));
  else print(`${files.join(', ')}: ok${areTypesChecked ? '' : ' (no tsc found: types unchecked)'}`);
  return issues.length === 0 ? ExitCode.OK : ExitCode.FAILED;
}

async function list(flags: ClientFlags): Promise<void> {
  const { value } = await clientOf(flags).call(scriptsSchema, 'GET', '/v1/scripts');
  if (flags.json) printJson(value);
  else {
    const isEmpty = value.scripts.length === 0;
    const scripts = isEmpty ? 'no scripts are loaded' : formatScripts(value.scripts);
    print(`${scripts}\n\n${formatLimits(value.limits)}`);
  }
}

async function showTrial(flags: ClientFlags): Promise<void> {
  const { value } = await clientOf(flags).call(trialSchema, 'GET', '/v1/trial');
  if (flags.json) printJson(value);
  else print(describeTrial(value));
}

function describeTrial(trial: (typeof trialSchema)['_output']): string {
  const { mode, generation, share, decisions, failures, differences = [] } = trial;
  const of = share === undefined ? '' : ` of ${share} % of new flows`;
  const different = trial.different === undefined ? '' : `, ${trial.different} different`;
  const lines = differences.map(({ flow, before, after }) => `\n  ${flow}: ${before} -> ${after}`);
  const head = `${mode}${of}: generation ${generation.number} (${generation.hash})`;
  return `${head}: ${decisions} decisions, ${failures} failed${different}${lines.join('')}`;
}

async function apply(
  flags: ScriptFlags,
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

const LINE_LENGTH = 80;

/** As many on a line as fit a terminal. */
function formatLimits(limits: Readonly<Record<string, number>>): string {
  const lines = ['limits of each script:'];
  for (const [name, value] of Object.entries(limits)) {
    const text = ` ${name}=${value}`;
    if ((lines.at(-1) ?? '').length + text.length > LINE_LENGTH) lines.push(' ');
    lines.push((lines.pop() ?? '') + text);
  }
  return lines.join('\n');
}
