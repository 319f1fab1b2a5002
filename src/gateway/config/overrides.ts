/** Flags and environment over the file: flag, then `CULVERT_*`, then file, then default. */

/** A value for one place of the config, still as text. */
export interface Override {
  readonly path: readonly string[];
  readonly value: unknown;
  /** The flag or variable that said it: `--mtu`, `CULVERT_MTU`. */
  readonly origin: string;
}
export type Overrides = readonly Override[];

interface Source {
  readonly flag: string;
  readonly env: string;
  readonly path: readonly string[];
  readonly isNumber?: boolean;
}

/** The flags of `culvert run` that stand for a place of the config. */
const SOURCES: readonly Source[] = [
  { flag: 'device', env: 'CULVERT_DEVICE', path: ['device', 'name'] },
  { flag: 'mtu', env: 'CULVERT_MTU', path: ['device', 'mtu'], isNumber: true },
  { flag: 'logLevel', env: 'CULVERT_LOG_LEVEL', path: ['log', 'level'] },
  { flag: 'logFormat', env: 'CULVERT_LOG_FORMAT', path: ['log', 'format'] },
  { flag: 'logTime', env: 'CULVERT_LOG_TIME', path: ['log', 'time'] },
  { flag: 'admin', env: 'CULVERT_ADMIN', path: ['admin', 'listen'] },
  { flag: 'stateDir', env: 'CULVERT_STATE_DIR', path: ['state', 'folder'] },
  { flag: 'fwmark', env: 'CULVERT_FWMARK', path: ['egress', 'fwmark'] },
  { flag: 'interface', env: 'CULVERT_INTERFACE', path: ['egress', 'interface'] },
];

/** Collects the overrides from parsed flags (by camel-case name) and the environment. */
export function collectOverrides(
  flags: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string | undefined>>,
): Overrides {
  return SOURCES.flatMap((source) => {
    const flag = flags[source.flag];
    const value = flag ?? (env[source.env] || undefined);
    if (value === undefined) return [];
    const origin = flag === undefined ? source.env : formatFlag(source.flag);
    return [{ path: source.path, value: convert(source, String(value)), origin }];
  });
}

/** Where the value at `path` comes from, if it is from an override. */
export function originOf(
  overrides: Overrides,
  path: readonly PropertyKey[],
): { readonly origin: string } | undefined {
  const found = overrides.findLast(
    (override) =>
      override.path.length === path.length &&
      override.path.every((key, depth) => key === path[depth]),
  );
  return found && { origin: found.origin };
}

/** A copy of `value` with the overrides laid over it. What is no object is left to the schema. */
export function applyOverrides(value: unknown, overrides: Overrides): unknown {
  return overrides.reduce((result, { path, value: over }) => setIn(result, path, over), value);
}

/** `logLevel` is `--log-level`. */
const formatFlag = (flag: string): string =>
  `--${flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

function convert(source: Source, text: string): string | number {
  if (source.isNumber && /^\d+$/.test(text)) return Number(text);
  // tun2socks writes tun://tun0
  return source.flag === 'device' ? text.replace(/^tun:\/\//, '') : text;
}

function setIn(target: unknown, path: readonly string[], value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (target !== undefined && target !== null && !isObject(target)) return target;
  const object = target ?? {};
  return { ...object, [key]: setIn(object[key], rest, value) };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
