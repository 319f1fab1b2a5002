/** Reads the sets that a config names. */
import { resolve } from 'node:path';
import { parseSet } from '../../scripts-runtime/sets/sets.ts';
import type { ScriptSet } from '../messages/script-control.ts';
import { ConfigError, type ConfigIssue, type LoadedConfig } from './load.ts';
import { readTextFile, UnreadableError } from './read-text-file.ts';

/** Of all sets together: half of what a message to a script host can hold. */
export const SETS_MAX_BYTES = 8 * 1024 * 1024;

/** @throws ConfigError  with file and line of what is no entry */
export function readSets(loaded: LoadedConfig): Record<string, ScriptSet> {
  const issues: ConfigIssue[] = [];
  const sets: Record<string, ScriptSet> = {};
  for (const [name, { type, file }] of Object.entries(loaded.config.scripts.sets)) {
    const path = `scripts.sets.${name}`;
    const text = readSet(resolve(loaded.folder, file), path, issues);
    const set = parseSet(type, text);
    if ('text' in set) sets[name] = set;
    else
      for (const fault of set)
        issues.push({ path, message: `${file}:${fault.line}: ${fault.message}` });
  }
  for (const message of setFaults(sets)) issues.push({ path: 'scripts.sets', message });
  if (issues.length > 0) throw new ConfigError(loaded.file ?? 'embedded default', issues);
  return sets;
}

/** Which limits the sets break together, in words. */
export function setFaults(sets: Readonly<Record<string, ScriptSet>>): string[] {
  const bytes = Object.values(sets).reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  return bytes > SETS_MAX_BYTES ? [`${bytes} bytes in all sets, at most ${SETS_MAX_BYTES}`] : [];
}

function readSet(file: string, path: string, issues: ConfigIssue[]): string {
  try {
    return readTextFile(file, SETS_MAX_BYTES);
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    issues.push({ path, message: `${file} ${error.message}` });
    return '';
  }
}
