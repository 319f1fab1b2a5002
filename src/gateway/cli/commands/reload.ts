/** `culvert reload`: config and scripts from disk again. */
import type { Command } from 'commander';
import { type change, reloaded, reload as reloadSchema } from '../../supervisor/api/schemas.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printJson } from '../output.ts';

interface ReloadFlags extends ClientFlags {
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly wait: string | false;
}

/** Longer than a check takes on a busy machine. */
const WAIT_DEFAULT = '200s';

export function addReload(program: Command): void {
  withClient(program.command('reload'))
    .description('read config and scripts from disk again')
    .option('--force', 'apply also what is identical')
    .option('--dry-run', 'check only')
    .option('--wait <duration>', 'how long to wait for how it goes', WAIT_DEFAULT)
    .option('--no-wait', 'print the id of the reload and go')
    .action(reload);
}

async function reload(flags: ReloadFlags): Promise<void> {
  const query = new URLSearchParams(changeQuery(flags));
  if (flags.wait !== false) query.set('wait', flags.wait);
  const answer = reloaded.or(reloadSchema);
  const result = await clientOf(flags).change(answer, 'POST', `/v1/reload?${query}`);
  if (flags.json) printJson(result);
  else if ('reload_id' in result) print(describeChange(result));
  else print(`reload ${result.id} is ${result.state}: GET /v1/reloads/${result.id} tells the rest`);
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
