/** The limits of a config over those of the runtime. */
import { DEFAULT_SCRIPT_LIMITS } from '../../../scripts-runtime/limits.ts';
import type { Config } from '../../config/schema.ts';
import type { ScriptLimits } from '../../messages/script-control.ts';

export function scriptLimits({ scripts }: Config): ScriptLimits {
  const chosen = Object.entries(scripts.limits).filter(([, value]) => value !== undefined);
  return { ...DEFAULT_SCRIPT_LIMITS, ...Object.fromEntries(chosen) };
}
