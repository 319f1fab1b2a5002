/** The last good config, as it ran: `culvert run --resume` starts with it. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { stageFile } from './config-writer.ts';
import type { ConfigSource } from './default-config.ts';
import { ConfigError, type LoadedConfig, validateConfig } from './load.ts';
import { readTextFile, UnreadableError } from './read-text-file.ts';

export const AUTOSAVE_NAME = 'autosave.json';
const FILE_MAX_BYTES = 8 * 1024 * 1024;

const saved = z.object({
  file: z.string().optional(),
  folder: z.string(),
  saved_at: z.string(),
  config: z.unknown(),
});

/** Undefined where nobody has asked for a folder of state. */
export const autosaveFile = (stateFolder: string): string | undefined =>
  existsSync(stateFolder) ? join(stateFolder, AUTOSAVE_NAME) : undefined;

/** @throws ConfigFileError  what was saved before is still there */
export async function writeAutosave(
  path: string,
  { file, folder, value }: LoadedConfig,
): Promise<void> {
  const content: z.input<typeof saved> = {
    ...(file === undefined ? {} : { file }),
    folder,
    saved_at: new Date().toISOString(),
    config: value,
  };
  const staged = await stageFile(path, `${JSON.stringify(content, undefined, 2)}\n`);
  await staged.commit();
}

/**
 * The config that was saved; undefined when none was.
 *
 * @throws ConfigError  it cannot be used any more
 */
export function loadAutosave({ stateFolder, overrides }: ConfigSource): LoadedConfig | undefined {
  const named = overrides.findLast(({ path }) => path.join('.') === 'state.folder')?.value;
  const path = join(typeof named === 'string' ? resolve(named) : stateFolder, AUTOSAVE_NAME);
  if (!existsSync(path)) return undefined;
  const { config: value, file, folder } = read(path);
  const config = validateConfig(value, path, overrides);
  return { config, folder, value, ...(file === undefined ? {} : { file }) };
}

function read(path: string): z.output<typeof saved> {
  try {
    return saved.parse(JSON.parse(readTextFile(path, FILE_MAX_BYTES)));
  } catch (cause) {
    const isFault =
      cause instanceof UnreadableError ||
      cause instanceof SyntaxError ||
      cause instanceof z.ZodError;
    if (!isFault) throw cause;
    throw new ConfigError(path, [{ path: '', message: 'is no config that was saved' }], { cause });
  }
}
