/** `env.KV`: values that outlive the sandbox. */
import { host, isPlainText, parse, stringify } from './host.js';
import { show } from './show.js';
import { checkOptions, oneOf } from './verdicts.js';

const canCross = (value) => typeof value !== 'string' || isPlainText(value);
const toJson = (value) => (typeof value === 'string' ? stringify(value) : value);

/** The same in host-functions/kv.ts. */
const JSON_FLAG = 1;
const EVICT_FLAG = 2;

/** Text as it is, and as JSON where that would change it. */
function cross(operation, key, value, a, b, flags) {
  return canCross(key) && canCross(value) && canCross(a)
    ? host.kv(operation, key, value, a, b, flags)
    : host.kv(operation, toJson(key), toJson(value), toJson(a), b, flags | JSON_FLAG);
}

/** `host.kv` answers null where it refuses, and then tells why. */
function kv(operation, key, value, a, b, evict = false) {
  if (typeof key !== 'string') throw new TypeError(`KV: a key must be text, not ${show(key)}`);
  const result = cross(operation, key, value, a, b, evict ? EVICT_FLAG : 0);
  // There is text, which cannot come as it is.
  if (operation === 'get' && result === true)
    return parse(cross('getJson', key, undefined, undefined, undefined, 0));
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
const atLeast = (least) => (value) => typeof value === 'number' && value >= least;
const anyNumber = atLeast(Number.NEGATIVE_INFINITY);
const SET_OPTIONS = { ttlMs: atLeast(1), evict: oneOf(true, false) };
const INCR_OPTIONS = { ...SET_OPTIONS, init: anyNumber };
const KEYS_OPTIONS = { prefix: (value) => typeof value === 'string', limit: atLeast(0) };

/** Each option once, as a getter may answer differently the second time. */
function optionsOf(options, known) {
  if (options === undefined || options === null) return {};
  const own = typeof options === 'object' ? { ...options } : options;
  checkOptions('KV', own, known);
  return own;
}

export const KV = Object.freeze({
  get: (key) => kv('get', key),
  set: (key, value, options) => {
    const { ttlMs, evict } = optionsOf(options, SET_OPTIONS);
    kv('set', key, checkKvValue(value), ttlMs, undefined, evict);
  },
  add: (key, value, options) => {
    const { ttlMs, evict } = optionsOf(options, SET_OPTIONS);
    return kv('add', key, checkKvValue(value), ttlMs, undefined, evict);
  },
  cas: (key, old, value) => {
    if (old !== undefined) checkKvValue(old);
    return kv('cas', key, checkKvValue(value), old);
  },
  incr: (key, by = 1, options = undefined) => {
    if (!anyNumber(by)) throw new TypeError(`KV: by cannot be ${show(by)}`);
    const { init = 0, ttlMs, evict } = optionsOf(options, INCR_OPTIONS);
    return kv('incr', key, by, init, ttlMs, evict);
  },
  delete: (key) => kv('delete', key),
  keys: (options) => {
    const { prefix = '', limit } = optionsOf(options, KEYS_OPTIONS);
    return parse(kv('keys', prefix, limit));
  },
});
