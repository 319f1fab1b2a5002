import type { ScriptBundle } from '../bundle/bundle.ts';
import type { Registry } from './registry.ts';

/**
 * What a script is told of the one before it, as JSON; '' where there was none. That one is asked
 * for its state, unless both go on side by side.
 */
export function lastWord(
  { active }: Registry,
  name: string,
  { previous }: ScriptBundle,
  isCanary: boolean,
): string {
  const old = active?.scripts.find((script) => script.name === name);
  if (active !== undefined && old !== undefined) {
    const version = JSON.stringify(String(active.number));
    const state = isCanary ? '' : old.hooks.unload();
    return `{"version":${version}${state === '' ? '' : `,"state":${state}`}}`;
  }
  const wasThere = active === undefined && previous?.scripts.includes(name);
  return wasThere ? JSON.stringify({ version: String(previous?.generation) }) : '';
}
