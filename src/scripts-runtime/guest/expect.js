/** `expect` of `culvert:test`: the matchers that authors know from other test runners. */
import { equals, inspect, Matcher } from './equal.js';

class ExpectationError extends Error {
  name = 'ExpectationError';
}

const includes = (container, item) =>
  typeof container === 'string' ? container.includes(item) : [...container].includes(item);

/** The value at `a.b[0].c`, or undefined. */
const valueAt = (value, path) =>
  (Array.isArray(path) ? path : path.split(/[.[\]]+/).filter((name) => name !== '')).reduce(
    (inner, name) => inner?.[name],
    value,
  );

function thrownBy(action) {
  if (typeof action !== 'function') throw new TypeError('toThrow: expect() needs a function');
  try {
    action();
  } catch (error) {
    return { error };
  }
  return undefined;
}

/** What `toThrow` may be given: text in the message, a pattern, a class, an error, or nothing. */
function isThrown(thrown, wanted) {
  if (thrown === undefined) return false;
  if (wanted === undefined) return true;
  const { error } = thrown;
  const message = String(error?.message ?? error);
  if (typeof wanted === 'string') return message.includes(wanted);
  if (wanted instanceof RegExp) return wanted.test(message);
  if (typeof wanted === 'function') return error instanceof wanted;
  return wanted instanceof Error ? message === wanted.message : equals(error, wanted, true);
}

/** Each tells whether `actual` is as expected. */
const MATCHERS = {
  toBe: (actual, expected) => Object.is(actual, expected),
  toEqual: (actual, expected) => equals(actual, expected),
  toStrictEqual: (actual, expected) => equals(actual, expected),
  toMatchObject: (actual, expected) => equals(actual, expected, true),
  toBeTruthy: (actual) => Boolean(actual),
  toBeFalsy: (actual) => !actual,
  toBeNull: (actual) => actual === null,
  toBeUndefined: (actual) => actual === undefined,
  toBeDefined: (actual) => actual !== undefined,
  toBeNaN: (actual) => Number.isNaN(actual),
  toBeTypeOf: (actual, type) => typeof actual === type,
  toBeInstanceOf: (actual, type) => actual instanceof type,
  toBeOneOf: (actual, values) => [...values].some((one) => equals(actual, one)),
  toBeGreaterThan: (actual, bound) => actual > bound,
  toBeGreaterThanOrEqual: (actual, bound) => actual >= bound,
  toBeLessThan: (actual, bound) => actual < bound,
  toBeLessThanOrEqual: (actual, bound) => actual <= bound,
  toBeCloseTo: (actual, expected, digits = 2) => Math.abs(actual - expected) < 10 ** -digits / 2,
  toContain: includes,
  toContainEqual: (actual, expected) => [...actual].some((one) => equals(one, expected)),
  toHaveLength: (actual, length) => actual?.length === length,
  toMatch: (actual, pattern) =>
    typeof pattern === 'string' ? actual.includes(pattern) : pattern.test(actual),
  toStartWith: (actual, text) => actual.startsWith(text),
  toEndWith: (actual, text) => actual.endsWith(text),
  toHaveProperty: (actual, path, ...value) => {
    const found = valueAt(actual, path);
    return value.length === 0 ? found !== undefined : equals(found, value[0]);
  },
  toThrow: (action, wanted) => isThrown(thrownBy(action), wanted),
};

function check(name, actual, expected, isNot, hint) {
  if (MATCHERS[name](actual, ...expected) !== isNot) return;
  const call = `expect(actual)${isNot ? '.not' : ''}.${name}(${expected.map(inspect).join(', ')})`;
  throw new ExpectationError(`${hint}${call}\nactual: ${inspect(actual)}`);
}

function matchersOf(actual, isNot, hint) {
  const matchers = {};
  for (const name of Object.keys(MATCHERS)) {
    matchers[name] = (...expected) => check(name, actual, expected, isNot, hint);
  }
  return matchers;
}

/** Matchers that wait for a promise first. */
function waiting(settled, isNot, hint) {
  const matchers = {};
  for (const name of Object.keys(MATCHERS)) {
    matchers[name] = async (...expected) => {
      const value = await settled();
      // An error is what `rejects.toThrow` is about, not what throws it.
      const actual = name === 'toThrow' ? () => raise(value) : value;
      check(name, actual, expected, isNot, hint);
    };
  }
  return matchers;
}

function raise(value) {
  throw value;
}

async function rejectionOf(promise, hint) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new ExpectationError(`${hint}expected a rejection\nactual: fulfilled, ${inspect(value)}`);
}

/** @param message  stands in front of what is said about a failure */
export function expect(actual, message = undefined) {
  const hint = message === undefined ? '' : `${message}\n`;
  const withNot = (make) => Object.assign(make(false), { not: make(true) });
  return Object.assign(
    withNot((isNot) => matchersOf(actual, isNot, hint)),
    {
      resolves: withNot((isNot) => waiting(() => actual, isNot, hint)),
      rejects: withNot((isNot) => waiting(() => rejectionOf(actual, hint), isNot, hint)),
    },
  );
}

const TYPES = new Map([
  [String, 'string'],
  [Number, 'number'],
  [Boolean, 'boolean'],
  [BigInt, 'bigint'],
  [Symbol, 'symbol'],
]);

Object.assign(expect, {
  anything: () => new Matcher('anything', (value) => value !== undefined && value !== null),
  any: (type) =>
    new Matcher(`any ${type.name}`, (value) =>
      TYPES.has(type) ? typeof value === TYPES.get(type) : value instanceof type,
    ),
  objectContaining: (fields) =>
    new Matcher(`object containing ${inspect(fields)}`, (value) => equals(value, fields, true)),
  arrayContaining: (items) =>
    new Matcher(
      `array containing ${inspect(items)}`,
      (value) =>
        Array.isArray(value) && items.every((item) => value.some((one) => equals(one, item))),
    ),
  stringContaining: (text) =>
    new Matcher(
      `text containing ${inspect(text)}`,
      (value) => typeof value === 'string' && value.includes(text),
    ),
  stringMatching: (pattern) =>
    new Matcher(
      `text matching ${pattern}`,
      (value) => typeof value === 'string' && new RegExp(pattern).test(value),
    ),
  unreachable: (message = 'this was not to be reached') => {
    throw new ExpectationError(message);
  },
});
