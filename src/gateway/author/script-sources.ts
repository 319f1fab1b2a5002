/** Scripts from disk, and bundles of them as a gateway would load them. */
import { basename, dirname, extname, resolve } from 'node:path';
import type { ScriptBundle } from '../../scripts-runtime/bundle/bundle.ts';
import { DEFAULT_SCRIPT_LIMITS } from '../../scripts-runtime/limits.ts';
import { loadConfigFile } from '../config/load.ts';
import { readScriptFiles } from '../config/script-files.ts';
import { readScripts } from '../config/scripts.ts';
import { readSets } from '../config/sets.ts';
import type { ScriptSource } from '../messages/script-control.ts';
import { scriptLimits } from '../supervisor/scripts/script-limits.ts';

/** Name of the device as a script sees it when there is none. */
export const OFFLINE_DEVICE = 'culvert0';

const CONFIG_FILE = /\.(?:ya?ml|json)$/;

/** @throws ScriptFileError */
export function readScriptFile(
  file: string,
  root?: string,
  name = basename(file, extname(file)),
): ScriptSource {
  const files = readScriptFiles(resolve(file), root === undefined ? undefined : resolve(root));
  return { name, file, ...files };
}

export const bundleOf = (scripts: readonly ScriptSource[]): ScriptBundle => ({
  generation: 1,
  scripts,
  limits: DEFAULT_SCRIPT_LIMITS,
  vars: {},
  kv: [],
  iface: OFFLINE_DEVICE,
});

/**
 * A bundle of the scripts of a config, with its vars, limits, sets and `onError`; or of scripts
 * alone.
 *
 * @param files  either one config, or scripts in the order of asking
 * @throws ConfigError, ScriptFileError
 */
export function readBundle(files: readonly string[], root?: string): ScriptBundle {
  const [first = ''] = files;
  if (files.length !== 1 || !CONFIG_FILE.test(first)) {
    return bundleOf(files.map((file) => readScriptFile(file, root)));
  }
  const loaded = loadConfigFile(first, []);
  const { scripts, device } = loaded.config;
  return {
    ...bundleOf(readScripts(loaded)),
    limits: scriptLimits(loaded.config),
    vars: scripts.vars,
    sets: readSets(loaded),
    onError: scripts.onError,
    iface: device.name,
  };
}

/** Scripts by the folder that they share: tests may import the neighbours of their script. */
export const byFolder = (scripts: readonly ScriptSource[]): readonly (readonly ScriptSource[])[] =>
  Map.groupBy(scripts, ({ file }) => resolve(dirname(file)))
    .values()
    .toArray();
