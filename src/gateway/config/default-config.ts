/**
 * The config of `culvert run` without a config: a device of its own in the benchmarking range
 * (RFC 2544, RFC 6890) and a unique local prefix (RFC 4193), and a script on disk to edit.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DEFAULT_SCRIPT } from './default-script.ts';
import { hasFiles } from './documents.ts';
import { type ConfigFiles, type LoadedConfig, loadConfigFiles, validateConfig } from './load.ts';
import type { Overrides } from './overrides.ts';
import type { ConfigInput } from './schema.ts';

/** Served by the welcome page, and answers ping. */
export const WELCOME_ADDRESS = '198.18.0.80';
/** Leads to the same port of the host's loopback. */
export const HOST_ADDRESS = '198.18.0.81';
export const DEFAULT_STATE_FOLDER = '/var/lib/culvert';

/** Looked for in this order when no file is named. */
const STANDARD_FILES = ['yaml', 'yml', 'json'].map((suffix) => `/etc/culvert/config.${suffix}`);

/** Read behind a standard file, where it has files. */
const STANDARD_FOLDER = '/etc/culvert/conf.d';

export const DEFAULT_CONFIG: ConfigInput = {
  device: { name: 'culvert0', addresses: ['198.18.0.1/15', 'fdc0:c01e::1/64'] },
  local: { addresses: [WELCOME_ADDRESS, 'fdc0:c01e::80'] },
  scripts: { load: [{ name: 'default', file: 'scripts/default.ts' }] },
  log: { format: 'text' },
};

/** With a proxy that somebody has asked for, all TCP goes there. */
const PROXIED: NonNullable<ConfigInput['listeners']> = [{ name: 'proxied', action: 'forward' }];

/** Where a config comes from. */
export interface ConfigSource {
  /** As given with `-c`; absent, like `confFolder`: a standard file, else the embedded default. */
  readonly file?: string;
  /** As given with `-C`: all of its files are merged, behind `file`. */
  readonly confFolder?: string;
  /** Holds what the gateway writes: the editable default script. */
  readonly stateFolder: string;
  readonly overrides: Overrides;
}

/**
 * Reads the config that applies.
 *
 * @throws ConfigError  when a file is named or found, and cannot be used
 */
export function loadConfig(source: ConfigSource): LoadedConfig {
  const files = configFilesOf(source);
  if (files !== undefined) return loadConfigFiles(files, source.overrides);
  const isProxied = source.overrides.some(({ path }) => path.join('.') === 'egress.via');
  const content = isProxied ? { ...DEFAULT_CONFIG, listeners: PROXIED } : DEFAULT_CONFIG;
  const config = validateConfig(content, 'embedded default', source.overrides);
  return { config, folder: source.stateFolder, value: content };
}

/** The files that apply; undefined for the embedded default. */
export function configFilesOf({ file, confFolder }: ConfigSource): ConfigFiles | undefined {
  if (file !== undefined || confFolder !== undefined) {
    return { ...(file && { file }), ...(confFolder && { folder: confFolder }) };
  }
  const standard = STANDARD_FILES.find((path) => existsSync(path));
  const hasMore = hasFiles(STANDARD_FOLDER);
  if (standard === undefined && !hasMore) return undefined;
  return { ...(standard && { file: standard }), ...(hasMore && { folder: STANDARD_FOLDER }) };
}

export const defaultScriptPath = (stateFolder: string): string =>
  join(stateFolder, 'scripts/default.ts');

/**
 * Writes the default script where it can be edited, unless it is there already.
 *
 * @throws Error with the code of the system, such as `EACCES`
 */
export function materialiseDefaultScript(stateFolder: string): string {
  const path = defaultScriptPath(stateFolder);
  if (!existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, DEFAULT_SCRIPT);
  }
  return path;
}
