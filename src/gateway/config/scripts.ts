/** Reads the scripts that a config names. */
import { basename, extname, relative, resolve } from 'node:path';
import type { ScriptSource } from '../messages/script-control.ts';
import { formatPath } from './documents.ts';
import { ConfigError, type ConfigIssue, type LoadedConfig } from './load.ts';
import {
  BUNDLE_MAX_BYTES,
  readScriptFiles,
  SCRIPT_MAX_FILES,
  ScriptFileError,
} from './script-files.ts';
import { type ScriptSettings, scriptName } from './script-schema.ts';

const BUNDLE_MAX_SCRIPTS = 64;

interface Wanted {
  readonly name: string;
  readonly file: string;
  /** Of what names it. */
  readonly path: readonly PropertyKey[];
  readonly settings: ScriptSettings;
}

/**
 * The scripts in the order of asking: as `load` lists them, or `files` sorted by name.
 *
 * @throws ConfigError  for what cannot be read, has no usable name, or is too large
 */
export function readScripts(loaded: LoadedConfig): ScriptSource[] {
  const { scripts } = loaded.config;
  const wanted =
    scripts.load?.map(({ name, file, ...settings }, index) => ({
      name,
      file: resolve(loaded.folder, file),
      path: ['scripts', 'load', index, 'file'],
      settings,
    })) ?? globScripts(loaded);
  const issues: ConfigIssue[] = [];
  const root = scripts.root === undefined ? undefined : resolve(loaded.folder, scripts.root);
  const sources = wanted.flatMap((script) =>
    readScript(script, root, (message) =>
      issues.push({ path: formatPath(script.path), message, ...loaded.placeOf?.(script.path) }),
    ),
  );
  for (const message of bundleFaults(sources)) issues.push({ path: 'scripts', message });
  if (issues.length > 0) throw new ConfigError(loaded.file ?? 'embedded default', issues);
  return sources;
}

/** Files whose folders hold what the config names as scripts; they need not exist. */
export function scriptPlaces({ config, folder }: LoadedConfig): string[] {
  const { load = [], files } = config.scripts;
  // The part of the pattern before anything that stands for many.
  const fixed = files?.replace(/[*?[{!].*$/s, '');
  return [
    ...load.map(({ file }) => resolve(folder, file)),
    ...(fixed === undefined ? [] : [resolve(folder, `${fixed}x`)]),
  ];
}

/** Which limits the scripts break together, in words. */
export function bundleFaults(scripts: readonly ScriptSource[]): string[] {
  const bytes = scripts.reduce((sum, script) => sum + sourceBytes(script), 0);
  return [
    ...(bytes > BUNDLE_MAX_BYTES
      ? [`${bytes} bytes of source in all scripts, at most ${BUNDLE_MAX_BYTES}`]
      : []),
    ...(scripts.length > BUNDLE_MAX_SCRIPTS
      ? [`${scripts.length} scripts, at most ${BUNDLE_MAX_SCRIPTS}`]
      : []),
    ...scripts
      .filter(({ modules = {}, tests = {} }) =>
        [{ ...modules, entry: '' }, tests].some(
          (files) => Object.keys(files).length > SCRIPT_MAX_FILES,
        ),
      )
      .map(({ name }) => `"${name}" has more than ${SCRIPT_MAX_FILES} files`),
  ];
}

/** Of all of its files, tests included. */
const sourceBytes = ({ source, modules = {}, tests = {} }: ScriptSource): number =>
  [source, ...Object.values(modules), ...Object.values(tests)].reduce(
    (sum, text) => sum + Buffer.byteLength(text),
    0,
  );

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
    path: ['scripts', 'files'],
    settings: {},
  }));
}

function readScript(
  wanted: Wanted,
  root: string | undefined,
  onFault: (message: string) => void,
): ScriptSource[] {
  const { name, file, settings } = wanted;
  if (!scriptName.safeParse(name).success) {
    onFault(`"${name}" cannot be the name of a script`);
    return [];
  }
  try {
    return [
      { name, file: displayPath(file), ...readScriptFiles(file, root), ...present(settings) },
    ];
  } catch (error) {
    if (!(error instanceof ScriptFileError)) throw error;
    onFault(error.message);
    return [];
  }
}

/** Without what is undefined, which is a value of its own in a ScriptSource. */
const present = ({
  allow,
  schedule,
}: ScriptSettings): Pick<ScriptSource, 'allow' | 'schedule'> => ({
  ...(allow && { allow }),
  ...(schedule && { schedule }),
});

/** As an operator would type it: relative when the file lies below the working directory. */
function displayPath(file: string): string {
  const folder = process.cwd();
  const short = relative(folder, file);
  // Everything lies below the root; there, as under a service manager, the whole path says more.
  return folder === '/' || short.startsWith('..') ? file : short;
}
