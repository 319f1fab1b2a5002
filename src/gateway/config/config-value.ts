/**
 * A config as the value that was written: what differs between two of them, what a merge patch
 * makes of one, and secrets that were shown as a mask and come back as one.
 */

const MASK = '***';

/** Names whose values are secrets; a name that ends so says where one is. */
const SECRET_NAME = new RegExp(
  '(token|secret|password|passwd|pwd|passphrase|psk|credential|' +
    '(api|access|auth|encryption|hmac|master|private|secret|session|shared|signing)key)s?$',
  'i',
);
/** `user:password@` of a URL; the user stays. */
const URL_PASSWORD = /([a-z][a-z0-9+.-]*:\/\/[^/\s:@]*:)[^/\s@]+@/gi;

export interface ConfigDifference {
  /** `device.mtu`; a list differs as a whole. */
  readonly path: string;
  /** Absent where there was, or is, nothing. */
  readonly before?: unknown;
  readonly after?: unknown;
}

/** The value as it can be shown. */
export function maskSecrets(value: unknown, key = ''): unknown {
  if (typeof value === 'string' && value !== '' && isSecret(key)) return MASK;
  if (typeof value === 'string') return value.replace(URL_PASSWORD, `$1${MASK}@`);
  if (Array.isArray(value)) return value.map((item) => maskSecrets(item, key));
  if (!isMapping(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, maskSecrets(inner, name)]),
  );
}

/**
 * The value with what is masked in it taken from `current`: by its place, in lists by the `name`
 * of its entry.
 *
 * @param onUnknown  gets the path of each mask that stands for nothing in `current`, or for a
 *                   secret of another URL: it must not become a secret itself
 */
export function unmaskSecrets(
  value: unknown,
  current: unknown,
  onUnknown: (path: readonly PropertyKey[]) => void,
  path: readonly PropertyKey[] = [],
): unknown {
  if (typeof value === 'string') {
    const key = String(path.findLast((part) => typeof part === 'string') ?? '');
    const isMasked = value === MASK ? isSecret(key) : value.includes(`:${MASK}@`);
    if (!isMasked) return value;
    if (typeof current === 'string' && maskSecrets(current, key) === value) return current;
    onUnknown(path);
    return value;
  }
  if (Array.isArray(value)) {
    const others = Array.isArray(current) ? current : [];
    return value.map((item, index) =>
      unmaskSecrets(item, partner(item, index, others), onUnknown, [...path, index]),
    );
  }
  if (!isMapping(value)) return value;
  const known = isMapping(current) ? current : {};
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      unmaskSecrets(inner, known[name], onUnknown, [...path, name]),
    ]),
  );
}

/** RFC 7396 §2. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isMapping(patch)) return patch;
  const merged = new Map(Object.entries(isMapping(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}

/** Where two values differ; nothing where they say the same. */
export function differencesOf(
  before: unknown,
  after: unknown,
  path: readonly string[] = [],
): { readonly path: readonly string[]; readonly before: unknown; readonly after: unknown }[] {
  if (Bun.deepEquals(before, after)) return [];
  if (!isMapping(before) || !isMapping(after)) return [{ path, before, after }];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key) => differencesOf(before[key], after[key], [...path, key]));
}

/** The same without secrets, as a client sees it. */
export const viewDifferences = (before: unknown, after: unknown): ConfigDifference[] =>
  differencesOf(before, after).map(({ path, ...sides }) => {
    const key = path.at(-1) ?? '';
    const shown = Object.entries(sides).filter(([, value]) => value !== undefined);
    const masked = shown.map(([side, value]) => [side, maskSecrets(value, key)]);
    return { path: path.join('.'), ...Object.fromEntries(masked) };
  });

function partner(item: unknown, index: number, others: readonly unknown[]): unknown {
  const name = isMapping(item) ? item['name'] : undefined;
  if (name === undefined) return others[index];
  return others.find((other) => isMapping(other) && other['name'] === name);
}

const isSecret = (key: string): boolean => SECRET_NAME.test(key.replace(/[_-]/g, ''));

export const isMapping = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
