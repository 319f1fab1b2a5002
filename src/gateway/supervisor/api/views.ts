/** Generations and changes as the API shows them. */
import type { z } from 'zod';
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
