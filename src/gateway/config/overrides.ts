/** Flags and environment over the file: flag, then `CULVERT_*`, then file, then default. */
import { isMapping } from './config-value.ts';

/** A value for one place of the config, still as text. */
export interface Override {
  readonly path: readonly string[];
  readonly value: unknown;
  /** The flag or variable that said it: `--mtu`, `CULVERT_MTU`. */
  readonly origin: string;
}
export type Overrides = readonly Override[];

interface Source {
  /** As the command line writes it: `log-level`. Its variable is `CULVERT_LOG_LEVEL`. */
  readonly flag: string;
  readonly path: readonly string[];
  /** Names that containers of tun2socks and its kin use; looked at last. */
  readonly short?: readonly string[];
  readonly read?: (text: string) => unknown;
}

const number = (text: string): unknown => (/^\d+$/.test(text) ? Number(text) : text);
const list = (text: string): unknown => text.split(/[\s,]+/).filter((item) => item !== '');
/** `tun://tun0` is how tun2socks writes it. */
const device = (text: string): unknown => text.replace(/^tun:\/\//, '');
const flagText = (text: string): unknown => parseSwitch(text) ?? text;

/** The flags of `culvert run` that stand for a place of the config. */
const SOURCES: readonly Source[] = [
  { flag: 'device', path: ['device', 'name'], short: ['TUN'], read: device },
  { flag: 'mtu', path: ['device', 'mtu'], short: ['MTU'], read: number },
  { flag: 'interface', path: ['egress', 'interface'] },
  { flag: 'proxy', path: ['egress', 'via'] },
  { flag: 'fwmark', path: ['egress', 'fwmark'], short: ['FWMARK'] },
  { flag: 'auto-route', path: ['routes', 'auto'], read: flagText },
  { flag: 'table', path: ['routes', 'table'], short: ['TABLE'], read: number },
  {
    flag: 'included-routes',
    path: ['routes', 'include'],
    short: ['TUN_INCLUDED_ROUTES'],
    read: list,
  },
  {
    flag: 'excluded-routes',
    path: ['routes', 'exclude'],
    short: ['TUN_EXCLUDED_ROUTES'],
    read: list,
  },
  { flag: 'admin', path: ['admin', 'listen'] },
  { flag: 'log-level', path: ['log', 'level'], short: ['LOGLEVEL'] },
  { flag: 'log-format', path: ['log', 'format'] },
  { flag: 'log-time', path: ['log', 'time'] },
  { flag: 'state-dir', path: ['state', 'folder'] },
];

/** `ready-fd` is `CULVERT_READY_FD`. */
export const variableOf = (flag: string): string =>
  `CULVERT_${flag.toUpperCase().replaceAll('-', '_')}`;

/** Flags that stand for a place of the config, and the short names of their variables. */
export const CONFIG_FLAGS: ReadonlyMap<string, readonly string[]> = new Map(
  SOURCES.map(({ flag, short = [] }) => [flag, short]),
);

/** What a variable says of a switch; undefined for what is neither yes nor no. */
function parseSwitch(text: string): boolean | undefined {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  return /^(0|false|no|off)$/i.test(text) ? false : undefined;
}

/** Collects the overrides from parsed flags (by camel-case name) and the environment. */
export function collectOverrides(
  flags: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string | undefined>>,
): Overrides {
  return SOURCES.flatMap(({ flag, path, short = [], read = (text: string) => text }) => {
    const value = flags[camelCase(flag)];
    if (value !== undefined) return [{ path, value: read(String(value)), origin: `--${flag}` }];
    // An empty variable is how a container says that it was not set.
    const origin = [variableOf(flag), ...short].find((name) => (env[name] ?? '') !== '');
    return origin === undefined ? [] : [{ path, value: read(env[origin] ?? ''), origin }];
  });
}

/** Where the value at `path` comes from, if it is from an override; a list is said as a whole. */
export function originOf(
  overrides: Overrides,
  path: readonly PropertyKey[],
): { readonly origin: string } | undefined {
  const found = overrides.findLast(
    (override) =>
      override.path.length <= path.length &&
      override.path.every((key, depth) => key === path[depth]),
  );
  return found && { origin: found.origin };
}

/** A copy of `value` with the overrides laid over it. What is no object is left to the schema. */
export function applyOverrides(value: unknown, overrides: Overrides): unknown {
  return overrides.reduce((result, { path, value: over }) => setIn(result, path, over), value);
}

/** `log-level` is `logLevel`, as commander names it. */
const camelCase = (flag: string): string =>
  flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

function setIn(target: unknown, path: readonly string[], value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (target !== undefined && target !== null && !isMapping(target)) return target;
  const object = target ?? {};
  return { ...object, [key]: setIn(object[key], rest, value) };
}
