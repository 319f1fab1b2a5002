/** Reads the scripts that a config names. */
import { basename, extname, relative, resolve } from 'node:path';
import type { ScriptSource } from '../messages/script-control.ts';
import { ConfigError, type ConfigIssue, type LoadedConfig } from './load.ts';
import { readTextFile, UnreadableError } from './read-text-file.ts';
import { scriptName } from './schema.ts';

/** Source text of all scripts together, in bytes: what one reload may carry. */
export const BUNDLE_MAX_BYTES = 1024 * 1024;
const BUNDLE_MAX_SCRIPTS = 64;

interface Wanted {
  readonly name: string;
  readonly file: string;
  readonly path: string;
}

/**
 * The scripts in the order of asking: as `load` lists them, or `files` sorted by name.
 *
 * @throws ConfigError  for what cannot be read, has no usable name, or is too large
 */
export function readScripts(loaded: LoadedConfig): ScriptSource[] {
  const { scripts } = loaded.config;
  const wanted =
    scripts.load?.map(({ name, file }, index) => ({
      name,
      file: resolve(loaded.folder, file),
      path: `scripts.load[${index}].file`,
    })) ?? globScripts(loaded);
  const issues: ConfigIssue[] = [];
  const sources = wanted.flatMap((script) => readScript(script, issues));
  for (const message of bundleFaults(sources)) issues.push({ path: 'scripts', message });
  if (issues.length > 0) throw new ConfigError(loaded.file ?? 'embedded default', issues);
  return sources;
}

/** Which limits the scripts break together, in words. */
export function bundleFaults(scripts: readonly ScriptSource[]): string[] {
  const bytes = scripts.reduce((sum, script) => sum + Buffer.byteLength(script.source), 0);
  return [
    ...(bytes > BUNDLE_MAX_BYTES
      ? [`${bytes} bytes of source in all scripts, at most ${BUNDLE_MAX_BYTES}`]
      : []),
    ...(scripts.length > BUNDLE_MAX_SCRIPTS
      ? [`${scripts.length} scripts, at most ${BUNDLE_MAX_SCRIPTS}`]
      : []),
  ];
}

function globScripts({ config, folder }: LoadedConfig): Wanted[] {
  const pattern = config.scripts.files;
  if (pattern === undefined) return [];
  const found = [...new Bun.Glob(pattern).scanSync({ cwd: folder, absolute: true })]
    // A test or a declaration beside a script is no script.
    .filter((file) => !/\.(test|d)\.[jt]s$/.test(file))
    .sort();
  return found.map((file) => ({
    name: basename(file, extname(file)),
    file,
    path: 'scripts.files',
  }));
}

function readScript({ name, file, path }: Wanted, issues: ConfigIssue[]): ScriptSource[] {
  if (!scriptName.safeParse(name).success) {
    issues.push({ path, message: `"${name}" cannot be the name of a script` });
    return [];
  }
  try {
    return [{ name, file: displayPath(file), source: readTextFile(file, BUNDLE_MAX_BYTES) }];
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    issues.push({ path, message: `${file} ${error.message}` });
    return [];
  }
}

/** As an operator would type it: relative when the file lies below the working directory. */
function displayPath(file: string): string {
  const folder = process.cwd();
  const short = relative(folder, file);
  // Everything lies below the root; there, as under a service manager, the whole path says more.
  return folder === '/' || short.startsWith('..') ? file : short;
}
