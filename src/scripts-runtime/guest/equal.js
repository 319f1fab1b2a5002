/** Whether two values are equal to the eyes of a test, and values as text. */
import { describe } from './show.js';

const objectIs = Object.is;
const { getPrototypeOf, keys } = Object;
const { isArray } = Array;

/** A value of the test's own that decides by itself: `expect.any(String)`. */
export class Matcher {
  /**
   * @param name     how it is printed
   * @param accepts  whether a value is what was expected
   */
  constructor(name, accepts) {
    this.name = name;
    this.accepts = accepts;
  }
}

const isObject = (value) => typeof value === 'object' && value !== null;

/**
 * @param isPartial  objects of `expected` may name fewer fields than there are
 * @param pairs      what is being compared further out: circles end there
 */
export function equals(actual, expected, isPartial = false, pairs = []) {
  if (expected instanceof Matcher) return expected.accepts(actual);
  if (objectIs(actual, expected)) return true;
  if (!isObject(actual) || !isObject(expected)) return false;
  if (!isPartial && getPrototypeOf(actual) !== getPrototypeOf(expected)) return false;
  if (pairs.some(([a, b]) => a === actual && b === expected)) return true;
  const deeper = [...pairs, [actual, expected]];
  const same = (a, b) => equals(a, b, isPartial, deeper);
  if (expected instanceof Date) return actual instanceof Date && +actual === +expected;
  if (expected instanceof RegExp) return String(actual) === String(expected);
  if (expected instanceof Error) {
    return (
      actual instanceof Error &&
      same([actual.name, actual.message], [expected.name, expected.message])
    );
  }
  if (expected instanceof Map) {
    return actual instanceof Map && same([...actual], [...expected]);
  }
  if (expected instanceof Set) {
    return actual instanceof Set && same([...actual], [...expected]);
  }
  if (ArrayBuffer.isView(expected) || isArray(expected)) {
    if (!(isArray(actual) || ArrayBuffer.isView(actual))) return false;
    if (actual.length !== expected.length) return false;
    for (let i = 0; i < expected.length; i++) if (!same(actual[i], expected[i])) return false;
    return true;
  }
  // A field that is undefined is as good as none.
  const names = isPartial ? keys(expected) : new Set([...keys(actual), ...keys(expected)]);
  for (const name of names) if (!same(actual[name], expected[name])) return false;
  return true;
}

const TEXT_LENGTH = 1000;
const DEPTH_MAX = 6;

/** A value as a failure shows it. */
export function inspect(value) {
  const text = print(value, DEPTH_MAX);
  return text.length > TEXT_LENGTH ? `${text.slice(0, TEXT_LENGTH)}…` : text;
}

function print(value, depth) {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return `[function ${value.name}]`;
  if (value instanceof Matcher) return value.name;
  if (!isObject(value)) return String(value);
  if (value instanceof Error) return describe(value).split('\n', 1)[0];
  if (value instanceof RegExp || value instanceof Date) return String(value);
  if (depth === 0) return '…';
  const inner = (one) => print(one, depth - 1);
  if (value instanceof Map) return `Map ${inner([...value])}`;
  if (value instanceof Set) return `Set ${inner([...value])}`;
  if (isArray(value)) return `[${value.map(inner).join(', ')}]`;
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} ${inner([...value])}`;
  const fields = keys(value).map((name) => `${name}: ${inner(value[name])}`);
  return fields.length === 0 ? '{}' : `{ ${fields.join(', ')} }`;
}
