/** Generations and changes as the API shows them. */
import { basename } from 'node:path';
import type { z } from 'zod';
import type { ScheduleEntry, ScriptSource } from '../../messages/script-control.ts';
import type { Generation } from '../scripts/generation.ts';
import type { Change, ChangeOptions } from '../scripts/generations.ts';
import type { ReloadRecord } from '../scripts/reloads.ts';
import type { Revalidation } from '../scripts/revalidation.ts';
import type { TrialState } from './control-plane.ts';
import { viewProblem } from './problem.ts';
import type { change, generation, reload, trial } from './schemas.ts';

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
  { generation: entry, changed, trial, tests, replay, revalidation }: Change,
  { dryRun }: ChangeOptions,
  active: number,
): z.output<typeof change> => ({
  changed,
  dry_run: dryRun === true,
  generation: viewGeneration(entry, active),
  ...(trial === undefined ? {} : { trial: trial.mode }),
  ...(revalidation === undefined ? {} : { revalidation: viewRevalidation(revalidation) }),
  ...(tests === undefined ? {} : { tests }),
  ...(replay === undefined ? {} : { replay: { ...replay, differences: [...replay.differences] } }),
});

const viewRevalidation = (found: Revalidation) => ({
  mode: found.mode,
  over: found.isOver,
  asked: found.asked,
  different: found.different,
  failed: found.failed,
  closed: found.closed,
  differences: [...found.differences],
  ...(found.problem === undefined ? {} : { problem: found.problem }),
});

/** @param active  number of the generation that is active now */
export function viewTrial(
  { generation: entry, plan, report }: TrialState,
  active: number,
): z.output<typeof trial> {
  const { canary, shadow } = report;
  return {
    mode: plan.mode,
    generation: viewGeneration(entry, active),
    ...(plan.mode === 'canary' ? { share: plan.share * 100, for_ms: plan.forMs } : {}),
    decisions: canary?.decisions ?? shadow?.compared ?? 0,
    failures: canary?.failures ?? shadow?.failed ?? 0,
    ...(shadow === undefined
      ? {}
      : {
          different: shadow.different,
          skipped: shadow.skipped,
          differences: [...shadow.differences],
        }),
  };
}

/** @param active  number of the generation that is active now */
export function viewReload(record: ReloadRecord, active: number): z.output<typeof reload> {
  const { id, state, startedAt, endedAt, error } = record;
  const done = viewReloaded(record, active);
  return {
    id,
    state,
    started_at: new Date(startedAt).toISOString(),
    ...(endedAt === undefined ? {} : { ended_at: new Date(endedAt).toISOString() }),
    ...(done === undefined ? {} : { change: done }),
    ...(error === undefined ? {} : { problem: viewProblem(error) }),
  };
}

/** What a reload changed; undefined until it has. */
export function viewReloaded(
  { reload, isDryRun }: ReloadRecord,
  active: number,
): z.output<typeof change> | undefined {
  if (reload === undefined) return undefined;
  return viewChange(reload, { dryRun: isDryRun }, active);
}

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
