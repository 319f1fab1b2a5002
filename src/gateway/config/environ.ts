/** Every value of a config with where it comes from: what `culvert environ` shows. */

import { maskSecrets } from './config-value.ts';
import type { ConfigSource } from './default-config.ts';
import { configFilesOf, DEFAULT_CONFIG } from './default-config.ts';
import { MergedConfig, type Place } from './documents.ts';
import { readConfigFiles } from './load.ts';
import { applyOverrides, originOf } from './overrides.ts';
import { type Config, configJsonSchema } from './schema.ts';
import { nodesAt, type SchemaNode, walkSchema } from './schema-tree.ts';

export interface Setting {
  /** `device.mtu` */
  readonly path: string;
  /** As it was written, or as the default is; secrets are masked. */
  readonly value: unknown;
  /** `--mtu`, `CULVERT_MTU`, `config.yaml:3:8`, `embedded default`, `default`, `derived`. */
  readonly source: string;
}

/**
 * The settings of a config that is valid, `config` being what became of it. Lists, and mappings
 * whose names the operator chooses, are one setting each.
 *
 * @throws ConfigError
 */
export function settingsOf(source: ConfigSource, config: Config): Setting[] {
  const files = configFilesOf(source);
  const merged = files && new MergedConfig(readConfigFiles(files).documents);
  const written = applyOverrides(merged?.value ?? (files ? {} : DEFAULT_CONFIG), source.overrides);
  const schema = configJsonSchema() as SchemaNode;
  return leavesOf(schema).flatMap((path) => {
    const keys = path.split('.');
    const said = valueAt(written, keys);
    const mask = (value: unknown) => maskSecrets(value, keys.at(-1));
    if (said !== undefined) {
      const place = merged?.placeOf(keys) ?? {};
      const from = originOf(source.overrides, keys)?.origin ?? formatPlace(place, files?.file);
      return [{ path, value: mask(said), source: from }];
    }
    const fallback = nodesAt(schema, keys).find((node) => node.default !== undefined)?.default;
    const derived = valueAt(config, keys);
    if (fallback === undefined && derived === undefined) return [];
    // A default that another value has changed shows what it has become.
    const isDerived = fallback === undefined || (typeof derived === 'number' && isOther());
    return [
      isDerived
        ? { path, value: mask(derived), source: 'derived' }
        : { path, value: mask(fallback), source: 'default' },
    ];

    function isOther(): boolean {
      return typeof fallback === 'number' && fallback !== derived;
    }
  });
}

/** Properties that have no properties of their own. */
function leavesOf(schema: SchemaNode): string[] {
  const paths: string[] = [];
  walkSchema(schema, (path, { properties }) => {
    if (properties === undefined && !/[[*]/.test(path)) paths.push(path);
  });
  return [...new Set(paths)];
}

function formatPlace({ file, line, column }: Place, single: string | undefined): string {
  const name = file ?? single;
  if (name === undefined) return 'embedded default';
  return line === undefined ? name : `${name}:${line}:${column ?? 1}`;
}

const valueAt = (value: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((inner, key) => {
    const isObject = typeof inner === 'object' && inner !== null;
    return isObject ? new Map<string, unknown>(Object.entries(inner)).get(key) : undefined;
  }, value);
