/** `culvert reload`: config and scripts from disk again. */
import type { Command } from 'commander';
import { change } from '../../supervisor/api/schemas.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printJson } from '../output.ts';

interface ReloadFlags extends ClientFlags {
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

export function addReload(program: Command): void {
  withClient(program.command('reload'))
    .description('read config and scripts from disk again')
    .option('--force', 'apply also what is identical')
    .option('--dry-run', 'check only')
    .action(reload);
}

async function reload(flags: ReloadFlags): Promise<void> {
  const path = `/v1/reload?${changeQuery(flags)}`;
  const result = await clientOf(flags).change(change, 'POST', path);
  if (flags.json) printJson(result);
  else print(describeChange(result));
}

/** Query of a change: `force=true&dry_run=true`. */
export const changeQuery = ({ force, dryRun }: Pick<ReloadFlags, 'force' | 'dryRun'>): string =>
  new URLSearchParams({
    ...(force ? { force: 'true' } : {}),
    ...(dryRun ? { dry_run: 'true' } : {}),
  }).toString();

/** What became of a change, in words. */
export function describeChange(result: (typeof change)['_output']): string {
  const { number, hash, scripts } = result.generation;
  const names = scripts.length === 0 ? 'no scripts' : scripts.join(', ');
  const what = `generation ${number} (${hash}: ${names})`;
  const restart = result.restart_required ?? [];
  const later = restart.length === 0 ? '' : `\nat the next start only: ${restart.join(', ')}`;
  if (result.dry_run) return `would be ${what}${later}`;
  return `${result.changed ? 'now' : 'nothing changed: still'} ${what}${later}`;
}
