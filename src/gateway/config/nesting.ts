/** How deep a value is nested: what walks a value calls itself for each level of it. */

/** Far more than a config has. */
export const NESTING_MAX = 64;

interface Step {
  readonly value: object;
  readonly key: string;
  readonly before: Step | undefined;
}

/**
 * The path of a value that lies deeper than `NESTING_MAX`; undefined where there is none. A value
 * that contains itself, as an alias of YAML can make one, has no end, and so is too deep.
 */
export function tooDeep(root: unknown): readonly string[] | undefined {
  let level: readonly Step[] = isObject(root) ? [{ value: root, key: '', before: undefined }] : [];
  for (let depth = 0; depth < NESTING_MAX && level.length > 0; depth++) {
    // An alias stands for the same object wherever it is, and one look at that is enough.
    const next = new Map<object, Step>();
    for (const before of level) {
      for (const [key, value] of Object.entries(before.value)) {
        if (isObject(value)) next.set(value, { value, key, before });
      }
    }
    level = [...next.values()];
  }
  const [found] = level;
  return found && pathOf(found);
}

function pathOf(step: Step): string[] {
  const path: string[] = [];
  for (let at: Step | undefined = step; at?.before !== undefined; at = at.before) path.push(at.key);
  return path.reverse();
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;
