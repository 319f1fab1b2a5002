/** `culvert reload`: config and scripts from disk again. */
import { type Command, Option } from 'commander';
import { type change, reloaded, reload as reloadSchema } from '../../supervisor/api/schemas.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printJson } from '../output.ts';

interface ReloadFlags extends ClientFlags, ChangeFlags {
  readonly wait: string | false;
}

/** Longer than a check takes on a busy machine. */
const WAIT_DEFAULT = '200s';

/** Flags of a change of scripts. */
export interface ChangeFlags {
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly canary?: string;
  readonly canaryFor?: string;
  readonly shadow?: boolean;
  readonly revalidate?: string;
}

export const withChangeFlags = (command: Command): Command =>
  command
    .option('--force', 'apply also what is identical')
    .option('--dry-run', 'check only, and say what would be decided otherwise')
    .option('--canary <percent>', 'try it with a share of the new flows first')
    .option('--canary-for <duration>', 'how long; 0s: until it is promoted')
    .option('--shadow', 'only compare what it would decide')
    .option('--revalidate <mode>', 'live flows decided otherwise: keep, report or close');

export function addReload(program: Command): void {
  withChangeFlags(withClient(program.command('reload')))
    .description('read config and scripts from disk again')
    .addOption(
      new Option('--wait [duration]', 'how long to wait for how it goes')
        .default(WAIT_DEFAULT)
        .preset(WAIT_DEFAULT),
    )
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
export const changeQuery = (flags: ChangeFlags): string =>
  new URLSearchParams({
    ...(flags.force ? { force: 'true' } : {}),
    ...(flags.dryRun ? { dry_run: 'true' } : {}),
    ...(flags.canary === undefined ? {} : { canary: flags.canary }),
    ...(flags.canaryFor === undefined ? {} : { canary_for: flags.canaryFor }),
    ...(flags.shadow ? { shadow: 'true' } : {}),
    ...(flags.revalidate === undefined ? {} : { revalidate: flags.revalidate }),
  }).toString();

/** What became of a change, in words. */
export function describeChange(result: (typeof change)['_output']): string {
  const { number, hash, scripts } = result.generation;
  const names = scripts.length === 0 ? 'no scripts' : scripts.join(', ');
  const what = `generation ${number} (${hash}: ${names})`;
  const later = describeReplay(result.replay);
  if (result.dry_run) return `would be ${what}${later}`;
  if (result.trial !== undefined) return `on trial as ${result.trial}: ${what}${later}`;
  return `${result.changed ? 'now' : 'nothing changed: still'} ${what}${later}`;
}

/** Lines about what is decided otherwise; nothing where no flow was asked about. */
function describeReplay(replay: (typeof change)['_output']['replay']): string {
  if (replay === undefined) return '';
  if (replay.problem !== undefined) return `\nnot compared: ${replay.problem}`;
  const head = `\n${replay.different} of ${replay.flows} flows of late would be decided otherwise`;
  const lines = replay.differences.map(
    ({ flow, before, after }) => `\n  ${flow}: ${before} -> ${after}`,
  );
  return head + lines.join('');
}
