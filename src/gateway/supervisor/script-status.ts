/** Scripts and how they do, as the API shows them. */
import type { Status } from './api/schemas.ts';
import type { Generation } from './generations.ts';
import type { ScriptHost } from './script-host.ts';

export function scriptStatus(
  { number, scripts }: Generation,
  host: Pick<ScriptHost, 'disabled' | 'totals'>,
): Status['scripts'] {
  const killed = new Set(host.disabled);
  return scripts.map(({ name, file, source }) => {
    const { decisions, errors, limitHits, cpuUs, disabled } = host.totals.of(name);
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
