/** Generations and changes as the API shows them. */
import { basename } from 'node:path';
import type { z } from 'zod';
import type { ScheduleEntry, ScriptSource } from '../../messages/script-control.ts';
import type { Change, ChangeOptions, Generation } from '../generations.ts';
import type { change, generation } from './schemas.ts';

export const viewGeneration = (entry: Generation, active: number): z.output<typeof generation> => ({
  number: entry.number,
  hash: entry.hash,
  origin: entry.origin,
  ...(entry.copyOf === undefined ? {} : { copy_of: entry.copyOf }),
  created_at: new Date(entry.createdAt).toISOString(),
  active: entry.number === active,
  scripts: entry.scripts.map((script) => script.name),
});

/** @param active  number of the generation that is active now */
export const viewChange = (
  { generation: entry, changed }: Change,
  { dryRun }: ChangeOptions,
  active: number,
): z.output<typeof change> => ({
  changed,
  dry_run: dryRun === true,
  generation: viewGeneration(entry, active),
});

/** A script as `PUT` takes it, but for files outside of its folder. */
export function viewScript({ file, source, modules, tests, allow, schedule }: ScriptSource) {
  const entry = basename(file);
  return {
    entry,
    files: { [entry]: source, ...modules },
    ...(tests && { tests }),
    ...(allow && { allow }),
    ...(schedule && { schedule: Object.fromEntries(Object.entries(schedule).map(viewSchedule)) }),
  };
}

const viewSchedule = ([name, entry]: [string, ScheduleEntry]): [string, object] => [
  name,
  'cron' in entry ? entry : { every: `${entry.everyMs}ms` },
];
