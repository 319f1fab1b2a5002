/** A generation as a script host gets it. */
import type { KvEntry, ScriptBundle } from '../messages/script-control.ts';
import type { Generation } from './generations.ts';

export interface HostMemory {
  /** Name of the device, as scripts will see it. */
  readonly iface: string;
  readonly kv: readonly KvEntry[];
  readonly disabled: readonly string[];
}

export const toBundle = (generation: Generation, memory: HostMemory): ScriptBundle => ({
  generation: generation.number,
  scripts: generation.scripts,
  limits: generation.limits,
  vars: generation.vars,
  ...memory,
});
