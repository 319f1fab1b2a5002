/** What is to run: as the config says, or as somebody changes it. */
import type { LoadedConfig } from '../config/load.ts';
import { readScripts } from '../config/scripts.ts';
import { readSets } from '../config/sets.ts';
import type { NewScript } from './api/control-plane.ts';
import type { BundleContent } from './generations.ts';
import { scriptLimits } from './script-limits.ts';

/** @throws ConfigError  for scripts and sets that cannot be read */
export function readBundle(loaded: LoadedConfig): BundleContent {
  const { vars } = loaded.config.scripts;
  const limits = scriptLimits(loaded.config);
  return { scripts: readScripts(loaded), vars, limits, sets: readSets(loaded) };
}

/** What a script may do is said by the config, or with the new script, and stays otherwise. */
export function withScript({ scripts }: BundleContent, script: NewScript): readonly NewScript[] {
  const old = scripts.find(({ name }) => name === script.name);
  const { allow, schedule } = old ?? {};
  const next = { ...(allow && { allow }), ...(schedule && { schedule }), ...script };
  return old ? scripts.map((one) => (one === old ? next : one)) : [...scripts, script];
}
