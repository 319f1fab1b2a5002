/** Writes a config that was changed at run time: beside its file, and then over it. */
import { chmod, chown, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { type Document, stringify } from 'yaml';
import { differencesOf } from './config-value.ts';
import { parseYaml } from './parse-yaml.ts';
import { readTextFile, UnreadableError } from './read-text-file.ts';

const FILE_MAX_BYTES = 4 * 1024 * 1024;
/** It may hold tokens. */
const OWNER_ONLY = 0o600;
const PERMISSIONS = 0o777;

/** A file cannot be written, or is not what was read. */
export class ConfigFileError extends Error {
  override readonly name = 'ConfigFileError';
  readonly code = 'CONFIG_FILE';
}

/** Another content of a file. */
export interface Rewrite {
  readonly text: string;
  /** What it was made of, and is to take the place of. */
  readonly before: string;
}

/**
 * The text of the file with another value in it. What stays the same keeps its place and its
 * comments.
 *
 * @param read  the value that was read from the file
 * @throws ConfigFileError  it is no file, or somebody has changed it since
 */
export function rewriteConfig(file: string | undefined, read: unknown, wanted: unknown): Rewrite {
  if (file === undefined) throw new ConfigFileError('there is no config file to write');
  const before = readConfigText(file);
  const document = parseYaml(before);
  if (document.errors.length > 0 || !Bun.deepEquals(document.toJS() ?? {}, read)) {
    throw new ConfigFileError(`${file} has changed since it was read: reload it first`);
  }
  return { before, text: rewritten(file, document, read, wanted) };
}

function rewritten(file: string, document: Document, read: unknown, wanted: unknown): string {
  if (file.endsWith('.json')) return `${JSON.stringify(wanted, undefined, 2)}\n`;
  for (const { path, after } of differencesOf(read, wanted)) {
    if (path.length === 0) return stringify(wanted);
    if (after === undefined) document.deleteIn(path);
    // A bare value leaves its comment where it is.
    else document.setIn(path, isScalarValue(after) ? after : document.createNode(after));
  }
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

/** A new content of a file, which is on disk and not yet in its place. */
export interface StagedFile {
  /** @throws ConfigFileError  the old content is still there, and nothing else */
  readonly commit: () => Promise<void>;
  readonly discard: () => Promise<void>;
}

/**
 * Writes the new content of a file beside it: what can fail, mostly fails here. Mode and owner
 * stay, and so does a link, whose target is written. One at a time for each file.
 *
 * @param before  what is to be replaced: where an editor has saved another text by the time of
 *                `commit`, that stays
 * @throws ConfigFileError
 */
export async function stageFile(file: string, text: string, before?: string): Promise<StagedFile> {
  const target = await realpath(file).catch(() => file);
  const temporary = `${target}.${process.pid}.new`;
  // When that fails it is somebody else's folder; writing there says so.
  const discard = () => rm(temporary, { force: true }).catch(() => undefined);
  const explain = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (cause) {
      await discard();
      if (cause instanceof ConfigFileError) throw cause;
      const { code } = cause as NodeJS.ErrnoException;
      throw new ConfigFileError(`${file} cannot be written: ${code ?? cause}`, { cause });
    }
  };
  await explain(async () => {
    await discard();
    const old = await stat(target).catch(ignoreMissing);
    await writeNew(temporary, text);
    if (old === undefined) return;
    await chown(temporary, old.uid, old.gid);
    // Not when it is made, where the umask would take from it.
    await chmod(temporary, old.mode & PERMISSIONS);
  });
  const commit = () =>
    explain(async () => {
      if (before !== undefined && readConfigText(target) !== before) {
        throw new ConfigFileError(`${file} was changed by somebody else meanwhile, and stays so`);
      }
      await rename(temporary, target);
    });
  return { commit, discard };
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

/** A new file and nothing else: whatever has the name since may be a link to somewhere. */
async function writeNew(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', OWNER_ONLY);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

const isScalarValue = (value: unknown): boolean => typeof value !== 'object' || value === null;

function readConfigText(file: string): string {
  try {
    return readTextFile(file, FILE_MAX_BYTES);
  } catch (cause) {
    if (!(cause instanceof UnreadableError)) throw cause;
    throw new ConfigFileError(`${file} ${cause.message}`, { cause });
  }
}
