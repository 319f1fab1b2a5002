/** What of a new config a gateway that runs cannot take. */

import { maskSecrets } from './config-value.ts';
import { CONFIG_KEYS } from './keys.ts';
import type { LoadedConfig } from './load.ts';
import { RestartRequiredError } from './restart-required.ts';
import type { Config } from './schema.ts';

const FIXED = Object.entries(CONFIG_KEYS).flatMap(([path, { reloads }]) => (reloads ? [] : [path]));

/** Places that differ and are taken at the start only, as `device.mtu`. */
export const restartRequired = (running: Config, wanted: Config): string[] =>
  FIXED.filter((path) => !Bun.deepEquals(valueAt(running, path), valueAt(wanted, path)));

/**
 * Refuses a config that would need a restart, as a whole: what runs is always one config, and not
 * the half of another.
 *
 * @throws RestartRequiredError  with every such place
 */
export function assertReloadable(running: Config, wanted: LoadedConfig): void {
  const paths = restartRequired(running, wanted.config);
  if (paths.length === 0) return;
  const issues = paths.map((path) => {
    const keys = path.split('.');
    const runs = JSON.stringify(maskSecrets(valueAt(running, path), keys.at(-1)));
    const message = `needs a restart (runs with ${runs ?? 'none'})`;
    return { path, message, ...wanted.placeOf?.(keys) };
  });
  throw new RestartRequiredError(wanted.file ?? 'embedded default', issues);
}

const valueAt = (config: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((value, key) => {
    const isObject = typeof value === 'object' && value !== null;
    return isObject ? new Map<string, unknown>(Object.entries(value)).get(key) : undefined;
  }, config);
