/** What of a new config a gateway that runs cannot take. */

import { maskSecrets } from './config-value.ts';
import { CONFIG_KEYS } from './keys.ts';
import type { LoadedConfig } from './load.ts';
import { RestartRequiredError } from './restart-required.ts';
import type { Config } from './schema.ts';

/** Places of a wanted config that a gateway takes at its start only, as `device.queues`. */
export const restartRequired = (started: Config, wanted: Config): string[] =>
  Object.entries(CONFIG_KEYS).flatMap(([path, { fixed, isCapacity }]) => {
    if (fixed === undefined) return [];
    const [before, after] = [valueAt(started, path), valueAt(wanted, path)];
    if (isCapacity) return Number(after) > Number(before) ? [path] : [];
    return Bun.deepEquals(before, after) ? [] : [path];
  });

/**
 * Refuses a config that would need a restart, as a whole: what runs is always one config, and not
 * the half of another.
 *
 * @param started  what the gateway was started with
 * @throws RestartRequiredError  with every such place, and why it is one
 */
export function assertReloadable(started: Config, wanted: LoadedConfig): void {
  const paths = restartRequired(started, wanted.config);
  if (paths.length === 0) return;
  const issues = paths.map((path) => {
    const keys = path.split('.');
    const value = JSON.stringify(maskSecrets(valueAt(started, path), keys.at(-1))) ?? 'none';
    const { fixed, isCapacity } = CONFIG_KEYS[path]!;
    const until = isCapacity ? `beyond ${value}` : `(runs with ${value})`;
    return { path, message: `needs a restart ${until}: ${fixed}`, ...wanted.placeOf?.(keys) };
  });
  throw new RestartRequiredError(wanted.file ?? 'embedded default', issues);
}

const valueAt = (config: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((value, key) => {
    const isObject = typeof value === 'object' && value !== null;
    return isObject ? new Map<string, unknown>(Object.entries(value)).get(key) : undefined;
  }, config);
