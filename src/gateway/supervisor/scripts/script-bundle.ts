/** A generation as a script host gets it. */
import type { ScriptBundle } from '../../messages/script-control.ts';
import type { Generation } from './generation.ts';

export interface HostFacts {
  /** Name of the device, as scripts will see it. */
  readonly iface: string;
  /** Scripts to be loaded and never asked. */
  readonly disabled: readonly string[];
  /** What ran in a host that is gone, or is about to be replaced by another. */
  readonly previous?: NonNullable<ScriptBundle['previous']>;
  /** Where no script may connect. */
  readonly closed?: readonly string[];
  /** What `via` may name. */
  readonly upstreams?: ScriptBundle['upstreams'];
  /** What `redirect` may name. */
  readonly listeners?: ScriptBundle['listeners'];
  /** What becomes of flows whose decision fails. */
  readonly onError?: NonNullable<ScriptBundle['onError']>;
}

/** What the configuration says beside the scripts, now. */
export type ConfigFacts = Pick<HostFacts, 'closed' | 'upstreams' | 'listeners' | 'onError'>;

export const toBundle = (generation: Generation, facts: HostFacts): ScriptBundle => ({
  generation: generation.number,
  scripts: generation.scripts,
  limits: generation.limits,
  vars: generation.vars,
  ...(generation.sets === undefined ? {} : { sets: generation.sets }),
  ...(generation.ca === undefined ? {} : { ca: generation.ca }),
  // Sent ahead of it, in parts.
  kv: [],
  ...facts,
});

/** What a new host is told of the generation that it comes after. */
export const previousOf = (active: Generation | undefined): Pick<HostFacts, 'previous'> =>
  active === undefined
    ? {}
    : { previous: { generation: active.number, scripts: active.scripts.map(({ name }) => name) } };
