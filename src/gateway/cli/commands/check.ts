/** `culvert check`: reads everything that `run` would read, and runs nothing. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { readAuthorities } from '../../config/authorities.ts';
import { defaultScriptPath, loadConfig } from '../../config/default-config.ts';
import { DEFAULT_SCRIPT } from '../../config/default-script.ts';
import type { LoadedConfig } from '../../config/load.ts';
import { readScripts } from '../../config/scripts.ts';
import { readSets } from '../../config/sets.ts';
import type { ScriptSource } from '../../messages/script-control.ts';
import { resolveAdmin } from '../../supervisor/api/listen.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { formatScriptIssue } from '../../supervisor/scripts/generations.ts';
import { tryScripts } from '../../supervisor/scripts/script-check.ts';
import { scriptLimits } from '../../supervisor/scripts/script-limits.ts';
import { type ConfigFlags, configSource, withConfig } from '../options.ts';
import { print, printError } from '../output.ts';
import type { Finish } from '../program.ts';

export function addCheck(program: Command, finish: Finish): void {
  withConfig(program.command('check').alias('validate'))
    .description('check config and scripts, and run nothing')
    .action(async (flags: ConfigFlags) => finish(await check(flags)));
}

/** @throws ConfigError */
export async function check(flags: ConfigFlags): Promise<ExitCode> {
  const loaded = loadConfig(configSource(flags));
  const name = loaded.file ?? 'embedded default';
  resolveAdmin(loaded.config.admin, name);
  const scripts = sourcesOf(loaded, flags.workdir);
  const { vars } = loaded.config.scripts;
  const sets = readSets(loaded);
  readAuthorities(loaded);
  const content = { scripts, vars, limits: scriptLimits(loaded.config), sets };
  const issues = await tryScripts(content, loaded.config.device.name);
  for (const issue of issues) printError(formatScriptIssue(issue));
  if (issues.length > 0) return ExitCode.FAILED;
  const names = scripts.map((script) => script.name).join(', ') || 'none';
  print(`${name}: ok (scripts: ${names}; listeners: ${loaded.config.listeners.length})`);
  return ExitCode.OK;
}

/** The default script need not be on disk yet: `run` would write it. */
function sourcesOf(loaded: LoadedConfig, workdir: string): readonly ScriptSource[] {
  const file = defaultScriptPath(workdir);
  if (loaded.file !== undefined || existsSync(file)) return readScripts(loaded);
  return [{ name: 'default', file, source: DEFAULT_SCRIPT }];
}
