/** `culvert check`: reads everything that `run` would read, and runs nothing. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { readAuthorities } from '../../config/authorities.ts';
import { defaultScriptPath, loadConfig } from '../../config/default-config.ts';
import { DEFAULT_SCRIPT } from '../../config/default-script.ts';
import { ConfigError, type LoadedConfig } from '../../config/load.ts';
import { readScripts } from '../../config/scripts.ts';
import { readSets } from '../../config/sets.ts';
import type { ScriptIssue, ScriptSource } from '../../messages/script-control.ts';
import { resolveAdmin } from '../../supervisor/api/listen.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { formatScriptIssue } from '../../supervisor/scripts/change-errors.ts';
import { tryScripts } from '../../supervisor/scripts/script-check.ts';
import { scriptLimits } from '../../supervisor/scripts/script-limits.ts';
import { type ConfigFlags, configSource, withConfig } from '../options.ts';
import { print, printError, printJson } from '../output.ts';
import type { Finish } from '../program.ts';

interface CheckFlags extends ConfigFlags {
  readonly json?: boolean;
}

/** One thing that is wrong, in a config or in a script. */
interface Fault {
  readonly file: string;
  readonly path?: string;
  readonly message: string;
  readonly line?: number;
  readonly column?: number;
}

export function addCheck(program: Command, finish: Finish): void {
  withConfig(program.command('check').alias('validate'))
    .description('check config and scripts, and run nothing')
    .option('--json', 'print JSON: whether all is well, and each fault with its place')
    .action(async (flags: CheckFlags) => finish(await check(flags)));
}

/** @throws ConfigError  unless it is to be printed as JSON */
export async function check(flags: CheckFlags): Promise<ExitCode> {
  if (!flags.json) {
    const { name, scripts, loaded, issues } = await examine(flags);
    for (const issue of issues) printError(formatScriptIssue(issue));
    if (issues.length > 0) return ExitCode.FAILED;
    const names = scripts.map((script) => script.name).join(', ') || 'none';
    print(`${name}: ok (scripts: ${names}; listeners: ${loaded.config.listeners.length})`);
    return ExitCode.OK;
  }
  try {
    const { name, scripts, issues } = await examine(flags);
    const errors = issues.map(scriptFault);
    const ok = errors.length === 0;
    printJson({ ok, config: name, scripts: scripts.map((script) => script.name), errors });
    return ok ? ExitCode.OK : ExitCode.FAILED;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const errors = error.issues.map((issue): Fault => ({ file: error.file, ...issue }));
    printJson({ ok: false, config: error.file, scripts: [], errors });
    return ExitCode.FAILED;
  }
}

/** @throws ConfigError */
async function examine(flags: ConfigFlags) {
  const loaded = loadConfig(configSource(flags));
  const name = loaded.file ?? 'embedded default';
  resolveAdmin(loaded.config.admin, name);
  const scripts = sourcesOf(loaded, flags.workdir);
  const { vars } = loaded.config.scripts;
  const sets = readSets(loaded);
  readAuthorities(loaded);
  const content = { scripts, vars, limits: scriptLimits(loaded.config), sets };
  const issues = await tryScripts(content, loaded.config.device.name);
  return { loaded, name, scripts, issues };
}

const scriptFault = ({ file, message, line, column }: ScriptIssue): Fault =>
  line === 0 ? { file, message } : { file, message, line, column };

/** The default script need not be on disk yet: `run` would write it. */
function sourcesOf(loaded: LoadedConfig, workdir: string): readonly ScriptSource[] {
  const file = defaultScriptPath(workdir);
  if (loaded.file !== undefined || existsSync(file)) return readScripts(loaded);
  return [{ name: 'default', file, source: DEFAULT_SCRIPT }];
}
