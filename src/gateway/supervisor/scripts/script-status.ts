/** How the scripts of the active generation do, as the API shows it. */
import type { Status } from '../api/schemas.ts';
import type { Generation } from './generation.ts';
import type { ScriptTotals } from './script-totals.ts';

/**
 * @param totals    sums of a script, by its name
 * @param disabled  scripts that got their host killed too often
 */
export function scriptStatus(
  { number, scripts }: Generation,
  totals: (name: string) => ScriptTotals,
  disabled: readonly string[],
): Status['scripts'] {
  return scripts.map(({ name, file, source }) => {
    const { decisions, errors, limitHits, cpuUs, disabled: isDisabled } = totals(name);
    return {
      name,
      file,
      bytes: Buffer.byteLength(source),
      generation: number,
      decisions,
      errors,
      limit_hits: { ...limitHits },
      cpu_ms: Math.round(cpuUs) / 1000,
      disabled: isDisabled || disabled.includes(name),
    };
  });
}
