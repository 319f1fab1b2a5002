/** A generation as a script host gets it. */
import type { KvEntry, ScriptBundle } from '../messages/script-control.ts';
import type { Generation } from './generations.ts';

export const toBundle = (
  generation: Generation,
  iface: string,
  kv: readonly KvEntry[],
): ScriptBundle => ({
  generation: generation.number,
  scripts: generation.scripts,
  limits: generation.limits,
  vars: generation.vars,
  kv,
  iface,
});
