/** A generation as a script host gets it. */
import type { ScriptBundle } from '../messages/script-control.ts';
import type { Generation } from './generations.ts';

export interface HostFacts {
  /** Name of the device, as scripts will see it. */
  readonly iface: string;
  /** Scripts to be loaded and never asked. */
  readonly disabled: readonly string[];
  /** Where no script may connect. */
  readonly closed?: readonly string[];
}

export const toBundle = (generation: Generation, facts: HostFacts): ScriptBundle => ({
  generation: generation.number,
  scripts: generation.scripts,
  limits: generation.limits,
  vars: generation.vars,
  ...(generation.sets === undefined ? {} : { sets: generation.sets }),
  // Sent ahead of it, in parts.
  kv: [],
  ...facts,
});
