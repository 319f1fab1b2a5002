/**
 * Values as JSON, also those of which JSON by itself says nothing: an error has no enumerable
 * field, a Map no field at all, and a bigint is refused.
 */
import { join, slice, stringify } from './host.js';

export const STACK_LENGTH = 1500;
/** More of a buffer nobody reads. */
const SHOWN_BYTES = 32;

/** As they were before a script could replace them. */
const own = { ArrayBuffer, Error, Map, Set, Uint8Array };
const { isView } = ArrayBuffer;

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
  const { name, message, stack, cause } = error;
  const known = { type: name, message, stack: slice(String(stack ?? ''), 0, STACK_LENGTH) };
  return { ...known, ...error, ...(cause === undefined ? {} : { cause }) };
}

function plain(_key, value) {
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (isError(value)) return errorOf(value);
  if (value instanceof own.Map || value instanceof own.Set) return [...value];
  return isView(value) || value instanceof own.ArrayBuffer ? bytesOf(value) : value;
}

/** Undefined for what is not there in JSON: a function, a symbol. */
export const toJson = (value) => stringify(value, plain);
