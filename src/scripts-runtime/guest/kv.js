/** `env.KV`: values that outlive the sandbox. */
import { host, isPlainText, parse, stringify } from './host.js';
import { show } from './show.js';

const canCross = (value) => typeof value !== 'string' || isPlainText(value);
const toJson = (value) => (typeof value === 'string' ? stringify(value) : value);

/** Text as it is, and as JSON where that would change it. */
function cross(operation, key, value, a, b) {
  return canCross(key) && canCross(value) && canCross(a)
    ? host.kv(operation, key, value, a, b, 0)
    : host.kv(operation, toJson(key), toJson(value), toJson(a), b, 1);
}

/** `host.kv` answers null where it refuses, and then tells why. */
function kv(operation, key, value, a, b) {
  if (typeof key !== 'string') throw new TypeError(`KV: a key must be text, not ${show(key)}`);
  const result = cross(operation, key, value, a, b);
  // There is text, which cannot come as it is.
  if (operation === 'get' && result === true) return parse(cross('getJson', key));
  if (result !== null) return result;
  const { name, message } = parse(host.kv('error', '', undefined, undefined, undefined));
  if (name === 'TypeError') throw new TypeError(message);
  const error = new Error(message);
  error.name = name;
  throw error;
}
function checkKvValue(value) {
  if (typeof value === 'string' || typeof value === 'number') return value;
  throw new TypeError(`KV: a value must be text or a number, not ${show(value)}`);
}
function checkKvNumber(name, value, least) {
  if (value === undefined || (typeof value === 'number' && value >= least)) return value;
  throw new TypeError(`KV: ${name} cannot be ${show(value)}`);
}
const ttlOf = (options) => checkKvNumber('ttlMs', options?.ttlMs, 1);

export const KV = Object.freeze({
  get: (key) => kv('get', key),
  set: (key, value, options) => {
    kv('set', key, checkKvValue(value), ttlOf(options));
  },
  add: (key, value, options) => kv('add', key, checkKvValue(value), ttlOf(options)),
  cas: (key, old, value) => {
    if (old !== undefined) checkKvValue(old);
    return kv('cas', key, checkKvValue(value), old);
  },
  incr: (key, by = 1, options = undefined) => {
    checkKvNumber('by', by, Number.NEGATIVE_INFINITY);
    const init = checkKvNumber('init', options?.init, Number.NEGATIVE_INFINITY) ?? 0;
    return kv('incr', key, by, init, ttlOf(options));
  },
  delete: (key) => kv('delete', key),
  keys: (options) => {
    const limit = checkKvNumber('limit', options?.limit, 0);
    return parse(kv('keys', options?.prefix ?? '', limit));
  },
});
