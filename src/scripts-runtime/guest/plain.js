/**
 * Values as JSON, also those of which JSON by itself says nothing: an error has no enumerable
 * field, a Map no field at all, and a bigint is refused.
 */
import { join, slice, stringify } from './host.js';

export const STACK_LENGTH = 1500;
/** More of a buffer nobody reads. */
const SHOWN_BYTES = 32;
/** Errors, maps and sets that lie deeper, or are more than these, are not opened. */
const DEPTH_LIMIT = 8;
const OPENED_LIMIT = 500;

/** As they were before a script could replace them. */
const own = { ArrayBuffer, Error, Map, Set, Uint8Array };
const { isView } = ArrayBuffer;
const { isArray } = Array;

export const isError = (value) => value instanceof own.Error;

function bytesOf(value) {
  const view = isView(value)
    ? new own.Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new own.Uint8Array(value);
  const shown = [];
  for (let i = 0; i < view.length && i < SHOWN_BYTES; i++) {
    shown[i] = view[i] < 16 ? `0${view[i].toString(16)}` : view[i].toString(16);
  }
  const rest = view.length > SHOWN_BYTES ? ' …' : '';
  return `${view.length} bytes: ${join(shown, ' ')}${rest}`;
}

/** The names are those of pino; what the error has besides (`code`, `peer`) goes with it. */
function errorOf(error) {
  const { name, message, stack, cause, errors } = error;
  const shown = {
    type: name,
    message,
    stack: slice(String(stack ?? ''), 0, STACK_LENGTH),
    ...error,
  };
  if (cause !== undefined) shown.cause = cause;
  // What an AggregateError is made of is no enumerable field.
  if (isArray(errors)) shown.errors = errors;
  return shown;
}

const isCollection = (value) => value instanceof own.Map || value instanceof own.Set;

/**
 * The replacer of one run of JSON. What it puts in place of an error or a map is new each time, by
 * which JSON cannot know it again: so it keeps the way down to where JSON is, and what stands for
 * what on it.
 */
function makePlain() {
  const shown = [];
  const sources = [];
  let depth = 0;
  let opened = 0;

  function open(value) {
    if (!isError(value) && !isCollection(value)) return value;
    if (depth >= DEPTH_LIMIT || opened >= OPENED_LIMIT) return '[too much]';
    opened++;
    return isError(value) ? errorOf(value) : [...value];
  }

  return function plain(_key, value) {
    if (typeof value === 'bigint') return String(value);
    if (typeof value !== 'object' || value === null) return value;
    if (isView(value) || value instanceof own.ArrayBuffer) return bytesOf(value);
    // JSON calls it on what holds the value.
    while (depth > 0 && shown[depth - 1] !== this) depth--;
    for (let i = 0; i < depth; i++) if (sources[i] === value) return '[circular]';
    sources[depth] = value;
    shown[depth] = open(value);
    return shown[depth++];
  };
}

/** Undefined for what is not there in JSON: a function, a symbol. */
export const toJson = (value) => stringify(value, makePlain());
