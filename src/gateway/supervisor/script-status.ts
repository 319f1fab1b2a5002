import type { Status } from './api/schemas.ts';
import type { Generation } from './generations.ts';
import type { ScriptHost } from './script-host.ts';

/** The scripts of a generation as the API shows them, in the order of asking. */
export function scriptStatus(
  { number, scripts }: Generation,
  { disabled: killedOften, totals }: Pick<ScriptHost, 'disabled' | 'totals'>,
): Status['scripts'] {
  const killed = new Set(killedOften);
  return scripts.map(({ name, file, source }) => {
    const { decisions, errors, limitHits, cpuUs, disabled } = totals.of(name);
    return {
      name,
      file,
      bytes: Buffer.byteLength(source),
      generation: number,
      decisions,
      errors,
      limit_hits: { ...limitHits },
      cpu_ms: Math.round(cpuUs) / 1000,
      disabled: disabled || killed.has(name),
    };
  });
}
