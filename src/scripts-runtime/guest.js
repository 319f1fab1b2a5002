/**
 * The inner half of the script API: runs inside QuickJS as the module `culvert`, and is the only
 * thing of ours there. host-api.ts is the outer half. The two share `host`, functions that cross
 * into the gateway, and `page`, memory both can read and write without a crossing.
 *
 * A script shares the globals with this module and can break them for itself; what it cannot do
 * is make a verdict without the functions below, or reach `host`.
 */
const host = globalThis.culvertHost;
delete globalThis.culvertHost;

// Taken before a script can replace them.
const { parse, stringify } = JSON;
const slice = Function.prototype.call.bind(String.prototype.slice);
const { page } = host;
const settings = parse(host.settings);
const { lengths } = settings;
const words = new Uint32Array(page);
const doubles = new Float64Array(page);

/** Offsets in words of 4 bytes; FLOW counts doubles. The same as `PageField` in host-api.ts. */
const FLOW = 0;
const CALL = 2;
const PROTOCOL = 3;
const FAMILY = 4;
const SOURCE_PORT = 5;
const DESTINATION_PORT = 6;
const MSS = 7;
const WINDOW_SCALE = 8;
const TTL = 9;
const ECN = 10;
const REPLY = 11;

/** The same as `Reply` in host-api.ts. */
const DECLINE = 1;
const FORWARD = 2;
const REJECT = 3;
const VERDICT = 4;
const PENDING = 5;
const THREW = 6;
const NO_VERDICT = 7;

/** By PROTOCOL_CODES of host-api.ts. */
const PROTOCOLS = ['tcp', 'udp', 'icmp'];
const STACK_LENGTH = 1500;

// ---- what a script imports ----

class Verdict {
  #reply;
  #body;
  constructor(reply, body) {
    this.#reply = reply;
    this.#body = body;
    Object.freeze(this);
  }
  static is(value) {
    return typeof value === 'object' && value !== null && #reply in value;
  }
  static reply(verdict) {
    return verdict.#reply;
  }
  static body(verdict) {
    const body = verdict.#body;
    return body === undefined ? undefined : stringify(body);
  }
}
// No way to the class, and so to another verdict, from a verdict in hand.
delete Verdict.prototype.constructor;
const { is: isVerdict, reply: replyOf, body: bodyOf } = Verdict;

const DECLINED = new Verdict(DECLINE, undefined);
const FORWARDED = new Verdict(FORWARD, undefined);
const REJECTED = new Verdict(REJECT, undefined);

const text = (value) => typeof value === 'string';
const shortText = (value) => text(value) && value.length <= lengths.address;
const count = (value) => Number.isInteger(value) && value >= 0;
const oneOf =
  (...values) =>
  (value) =>
    values.includes(value);

const REJECT_OPTIONS = { with: oneOf('rst', 'icmp', 'drop'), reason: text };
const REDIRECT_OPTIONS = { note: text };
const FORWARD_OPTIONS = {
  handshake: oneOf('dial-first', 'accept-first'),
  proxyProtocol: oneOf(1, 2),
  bind: shortText,
  mark: count,
  connectTimeoutMs: count,
  idleTimeoutMs: count,
  halfCloseTimeoutMs: count,
  maxBytes: count,
  congestion: oneOf(...settings.congestions),
};
const NAT_OPTIONS = { masquerade: oneOf(true, false), idleTimeoutMs: count };

/** The gateway cuts it again, by bytes and at the end of a character. */
const cutVerdictText = (value) =>
  typeof value === 'string' ? slice(value, 0, lengths.verdictText) : value;

/** A first check, so that the error carries the line of the call; the gateway checks again. */
function checkOptions(name, options, known) {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${name}: options must be an object`);
  }
  for (const key of Object.keys(options)) {
    if (options[key] === undefined) continue;
    if (!Object.hasOwn(known, key)) throw new TypeError(`${name}: no option "${key}"`);
    if (!known[key](options[key])) {
      throw new TypeError(`${name}: ${key} cannot be ${show(options[key])}`);
    }
  }
}

export const decline = () => DECLINED;

export function reject(options) {
  if (options === undefined) return REJECTED;
  checkOptions('reject()', options, REJECT_OPTIONS);
  const { with: how, reason } = options;
  return new Verdict(VERDICT, { kind: 'reject', with: how, reason: cutVerdictText(reason) });
}

function checkTarget(name, to) {
  if (to === undefined || shortText(to)) return;
  throw new TypeError(`${name}: the address must be text like "10.0.0.1:80", not ${show(to)}`);
}

export function forward(to, options) {
  if (to === undefined && options === undefined) return FORWARDED;
  checkTarget('forward()', to);
  if (options !== undefined) checkOptions('forward()', options, FORWARD_OPTIONS);
  return new Verdict(VERDICT, { ...options, kind: 'forward', to });
}

export function nat(to, options) {
  checkTarget('nat()', to);
  if (options !== undefined) checkOptions('nat()', options, NAT_OPTIONS);
  return new Verdict(VERDICT, { ...options, kind: 'nat', to });
}

export function redirect(listener, options) {
  if (!settings.services.includes(listener)) {
    const known = settings.services.join(', ');
    throw new TypeError(`redirect(): no listener ${show(listener)}; there is: ${known}`);
  }
  if (options !== undefined) checkOptions('redirect()', options, REDIRECT_OPTIONS);
  const note = cutVerdictText(options?.note);
  return new Verdict(VERDICT, { kind: 'redirect', listener, note });
}

function unavailable(name, instead) {
  return () => {
    throw new Error(`${name}() is not available in this version of culvert: ${instead}`);
  };
}
export const claim = unavailable('claim', 'a script can only forward, redirect or reject a flow');
export const connect = unavailable('connect', 'use forward(), the gateway dials');

// ---- what a script is given ----

class Endpoint {
  constructor(ip, port, family) {
    this.ip = ip;
    this.port = port;
    this.family = family;
  }
  toString() {
    return this.family === 6 ? `[${this.ip}]:${this.port}` : `${this.ip}:${this.port}`;
  }
}

class AbortSignal {
  #listeners = [];
  aborted = false;
  reason = undefined;
  onabort = null;
  addEventListener(type, listener) {
    if (type === 'abort' && typeof listener === 'function') this.#listeners.push(listener);
  }
  removeEventListener(_type, listener) {
    this.#listeners = this.#listeners.filter((one) => one !== listener);
  }
  throwIfAborted() {
    if (this.aborted) throw this.reason;
  }
  static abort(signal, why) {
    if (signal.aborted) return;
    signal.aborted = true;
    signal.reason = new Error(why);
    signal.reason.name = 'AbortError';
    const listeners = signal.#listeners;
    signal.#listeners = [];
    if (typeof signal.onabort === 'function') listeners.unshift(signal.onabort);
    for (const listener of listeners) {
      try {
        listener.call(signal, { type: 'abort', target: signal });
      } catch (error) {
        host.log(3, 0, `a listener of an AbortSignal threw ${describe(error)}`);
      }
    }
  }
}
const abortSignal = AbortSignal.abort;
delete AbortSignal.abort;

class FlowInfo {
  #serial;
  #signal;
  constructor(sourceIp, destinationIp) {
    const family = words[FAMILY];
    this.#serial = doubles[FLOW];
    this.proto = PROTOCOLS[words[PROTOCOL]];
    this.src = new Endpoint(sourceIp, words[SOURCE_PORT], family);
    this.dst = new Endpoint(destinationIp, words[DESTINATION_PORT], family);
    this.originalDst = this.dst;
    if (this.proto === 'tcp') {
      this.syn = {
        mss: words[MSS],
        wscale: words[WINDOW_SCALE],
        ttl: words[TTL],
        ecn: words[ECN] !== 0,
      };
    }
  }
  get id() {
    return String(this.#serial);
  }
  get iface() {
    return settings.iface;
  }
  get signal() {
    this.#signal ??= new AbortSignal();
    return this.#signal;
  }
  static serial(flow) {
    return flow.#serial;
  }
  static abort(flow, why) {
    if (flow.#signal !== undefined) abortSignal(flow.#signal, why);
  }
}
const serialOf = FlowInfo.serial;
const abortFlow = FlowInfo.abort;
delete FlowInfo.serial;
delete FlowInfo.abort;

const cut = (value) => slice(value, 0, lengths.message);

const show = (value) => {
  if (typeof value === 'object' && value !== null) {
    try {
      return cut(stringify(value) ?? 'an object');
    } catch {
      return 'an object';
    }
  }
  return typeof value === 'string' ? `"${cut(value)}"` : cut(String(value));
};

/** pino's order: fields first, then the message; text alone is the message. */
function writeLog(level, serial, first, message) {
  if (typeof first !== 'object' || first === null || first instanceof Error) {
    const line = first instanceof Error ? describe(first) : cut(String(first));
    host.log(level, serial, message === undefined ? line : `${line} ${cut(String(message))}`);
    return;
  }
  let fields;
  try {
    fields = stringify(first);
  } catch (error) {
    fields = stringify({ unprintable: cut(String(error)) });
  }
  const line = message === undefined ? '' : cut(String(message));
  host.log(
    level,
    serial,
    line,
    fields === undefined ? undefined : slice(fields, 0, lengths.fields),
  );
}

const makeLog = (serial) =>
  Object.freeze({
    debug: (first, message) => writeLog(0, serial, first, message),
    info: (first, message) => writeLog(1, serial, first, message),
    warn: (first, message) => writeLog(2, serial, first, message),
    error: (first, message) => writeLog(3, serial, first, message),
  });

const scriptSignal = new AbortSignal();
const limits = Object.freeze(settings.limits);

class Ctx {
  #serial;
  #log;
  constructor(serial) {
    this.#serial = serial;
  }
  get log() {
    this.#log ??= makeLog(this.#serial);
    return this.#log;
  }
  get version() {
    return settings.version;
  }
  get limits() {
    return limits;
  }
  get signal() {
    return scriptSignal;
  }
}

/** `host.kv` answers null where it refuses, and then tells why. */
function kv(operation, key, value, a, b) {
  if (typeof key !== 'string') throw new TypeError(`KV: a key must be text, not ${show(key)}`);
  const result = host.kv(operation, key, value, a, b);
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

const KV = Object.freeze({
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

const env = Object.freeze({ KV, vars: Object.freeze(settings.vars) });

// ---- globals ----

const globalLog = makeLog(0);
const printAll = (values) =>
  values.map((one) => (typeof one === 'string' ? one : show(one))).join(' ');
globalThis.console = Object.freeze({
  debug: (...values) => globalLog.debug(printAll(values)),
  log: (...values) => globalLog.info(printAll(values)),
  info: (...values) => globalLog.info(printAll(values)),
  warn: (...values) => globalLog.warn(printAll(values)),
  error: (...values) => globalLog.error(printAll(values)),
});

const timers = new Map();
let lastTimer = 0;
globalThis.setTimeout = (callback, delayMs, ...args) => {
  if (typeof callback !== 'function') throw new TypeError('setTimeout: no function');
  const id = lastTimer + 1;
  if (!host.startTimer(id, Number(delayMs) || 0)) {
    const error = new Error(`more than ${limits.timers} timers (timers)`);
    error.name = 'LimitError';
    throw error;
  }
  lastTimer = id;
  timers.set(id, () => callback(...args));
  return id;
};
globalThis.clearTimeout = (id) => {
  if (timers.delete(id)) host.stopTimer(id);
};
globalThis.queueMicrotask = (callback) => {
  Promise.resolve().then(callback);
};

// Code comes from the bundle, whose hash names it, and from nowhere else.
for (const name of ['eval', 'Function']) delete globalThis[name];
const refuse = () => {
  throw new Error('code cannot be made from text here');
};
for (const made of [() => {}, async () => {}, function* () {}, async function* () {}]) {
  Object.defineProperty(Object.getPrototypeOf(made), 'constructor', { value: refuse });
}

// ---- what the gateway calls ----

/** First line: the error. Then its stack, from which the gateway reads the position. */
function describe(error) {
  try {
    if (!(error instanceof Error)) return `${show(error)}\n`;
    const { name, message, stack } = error;
    return `${cut(`${name}: ${message}`)}\n${slice(String(stack ?? ''), 0, STACK_LENGTH)}`;
  } catch {
    return 'an error that cannot be shown\n';
  }
}

let script;
/** Calls whose promise is not settled: the flow behind each. */
const waiting = new Map();
const settled = Promise.prototype.then;

/** Writes how the call went to the page; text that belongs to it is returned. */
function answer(value) {
  if (!isVerdict(value)) {
    words[REPLY] = NO_VERDICT;
    return `flow() returned ${show(value)}`;
  }
  words[REPLY] = replyOf(value);
  return bodyOf(value);
}

function failed(error) {
  words[REPLY] = THREW;
  return describe(error);
}

function settle(call, reply) {
  if (!waiting.delete(call)) return;
  const body = reply();
  host.settle(call, words[REPLY], body);
}

host.connect({
  /** Takes the script. Returns what is wrong with it, or undefined. */
  adopt(exported) {
    if (typeof exported !== 'object' || exported === null) {
      return 'the script must export default an object with a method flow()';
    }
    if (typeof exported.flow !== 'function') return 'the default export has no method flow()';
    for (const hook of ['connect', 'closed', 'scheduled', 'load', 'unload']) {
      if (exported[hook] !== undefined) {
        return `${hook}() is not available in this version of culvert: it would never be called`;
      }
    }
    script = exported;
    return undefined;
  },

  decide(sourceIp, destinationIp) {
    const call = words[CALL];
    try {
      const flow = new FlowInfo(sourceIp, destinationIp);
      const value = script.flow(flow, env, new Ctx(serialOf(flow)));
      if (isVerdict(value) || typeof value?.then !== 'function') return answer(value);
      waiting.set(call, flow);
      settled.call(
        Promise.resolve(value),
        (verdict) => settle(call, () => answer(verdict)),
        (error) => settle(call, () => failed(error)),
      );
      words[REPLY] = PENDING;
      return undefined;
    } catch (error) {
      return failed(error);
    }
  },

  abort(call, why) {
    const flow = waiting.get(call);
    waiting.delete(call);
    if (flow !== undefined) abortFlow(flow, why);
  },

  /** The generation is being replaced. */
  retire() {
    abortSignal(scriptSignal, 'a new generation took over');
  },

  fire(id) {
    const timer = timers.get(id);
    timers.delete(id);
    try {
      timer?.();
      return undefined;
    } catch (error) {
      return describe(error);
    }
  },
});
