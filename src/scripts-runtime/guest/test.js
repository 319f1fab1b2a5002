/**
 * The module `culvert:test`, which test files import. It runs beside the script, in a sandbox of
 * its own: the script under test has one for itself, with the limits it would have in a gateway.
 */
import { expect } from './expect.js';
import { host, parse, stringify } from './host.js';
import { describe as describeError } from './show.js';

export { expect };

const rootGroup = { path: [], before: [], after: [], mode: 'run', parent: undefined };
/** The group that `describe` is filling. */
let group = rootGroup;
/** In the order in which they stand in the file. */
const tests = [];

function addTest(mode, name, body) {
  if (typeof body !== 'function') throw new TypeError(`test "${name}": no function`);
  const isSkipped = mode === 'skip' || group.mode === 'skip';
  const isOnly = mode === 'only' || group.mode === 'only';
  const path = [...group.path, String(name)];
  tests.push({ path, body, group, mode: isSkipped ? 'skip' : isOnly ? 'only' : 'run' });
}

function addGroup(mode, name, body) {
  const parent = group;
  const inherited = parent.mode === 'run' ? mode : parent.mode;
  group = { path: [...parent.path, String(name)], before: [], after: [], mode: inherited, parent };
  try {
    if (body() instanceof Promise) throw new TypeError(`describe "${name}" cannot be async`);
  } finally {
    group = parent;
  }
}

/** `%p` and its like stand for the arguments, one after the other. */
function nameOf(template, values) {
  let at = 0;
  return String(template).replace(/%[psdijo]/g, () => {
    const value = values[at++];
    return typeof value === 'string' ? value : String(stringify(value));
  });
}

/** `test`, or `describe`, with what hangs on them. */
const withModes = (add) => {
  const each = (mode) => (table) => (name, body) => {
    for (const row of table) {
      const values = Array.isArray(row) ? row : [row];
      add(mode, nameOf(name, values), () => body(...values));
    }
  };
  const make = (mode) => Object.assign((name, body) => add(mode, name, body), { each: each(mode) });
  return Object.assign(make('run'), { skip: make('skip'), only: make('only') });
};

export const test = withModes(addTest);
export const it = test;
export const describe = withModes(addGroup);

export const beforeEach = (body) => {
  group.before.push(body);
};
export const afterEach = (body) => {
  group.after.push(body);
};

/** From the outermost group inwards. */
const groupsOf = (inner) => (inner === undefined ? [] : [...groupsOf(inner.parent), inner]);

async function runTest({ body, group: inner }) {
  const groups = groupsOf(inner);
  for (const { before } of groups) for (const hook of before) await hook();
  try {
    await body();
  } finally {
    for (const { after } of groups.reverse()) for (const hook of after) await hook();
  }
}

/** What the runner outside was asked and has not answered. */
const waiting = new Map();
let lastCall = 0;

/** Bytes cross as text, a character for each. */
const packBytes = (_key, value) =>
  value instanceof Uint8Array
    ? { latin1: Array.from(value, (byte) => String.fromCharCode(byte)).join('') }
    : value;
const unpackBytes = (_key, value) =>
  typeof value?.latin1 === 'string'
    ? Uint8Array.from(value.latin1, (char) => char.charCodeAt(0))
    : value;

function ask(operation, argument) {
  const call = ++lastCall;
  // Made here, so that its stack leads into the test.
  const error = new Error();
  return new Promise((resolve, reject) => {
    waiting.set(call, { resolve, reject, error });
    host.testAsk(call, operation, stringify(argument, packBytes));
  });
}

/** A new flow, as a script is told of it. TCP when `proto` is absent. */
export const flow = (fields) => Object.freeze({ proto: 'tcp', ...fields });

/**
 * Asks `script` about a flow, and lets its time pass until it has answered.
 *
 * @param script  what the test imported from the file of the script
 */
export const run = (script, about, options = {}) =>
  ask('run', { script: nameOfScript('run', script), flow: about, options });

/** Calls a hook of `script`, and lets its time pass until it is over. */
export const scheduled = (script, event, options = {}) =>
  ask('scheduled', { script: nameOfScript('scheduled', script), event, options });
export const closed = (script, about, result = {}, options = {}) =>
  ask('closed', { script: nameOfScript('closed', script), flow: about, result, options });
/** Loads `script` once more, as a reload does. */
export const load = (script, options = {}) =>
  ask('load', { script: nameOfScript('load', script), options });

function nameOfScript(what, script) {
  if (typeof script?.culvertScript === 'string') return script.culvertScript;
  throw new TypeError(`${what}: the script comes first, as its file exports it by default`);
}

/** What clients begin with: pieces, as they come over the network. */
export const fixtures = Object.freeze(
  Object.fromEntries(
    ['tlsClientHello', 'httpRequest', 'sshBanner', 'dnsQuery', 'quicInitial'].map((name) => [
      name,
      (...args) => {
        const made = parse(host.testFixture(name, stringify(args)), unpackBytes);
        if (made.error !== undefined) throw new TypeError(`${name}: ${made.error}`);
        return made.pieces;
      },
    ]),
  ),
);

let nowMs = 0;
export const clock = Object.freeze({
  /** Milliseconds since 1970, as the scripts see them. */
  now: () => nowMs,
  /** Lets time pass: timers of the scripts fire in their order. */
  advance: async (ms) => {
    nowMs = await ask('advance', { ms });
  },
});

host.testConnect({
  /** The tests, once the file has run. */
  list: () => stringify(tests.map(({ path, mode }) => ({ path, mode }))),

  begin(index, epochMs) {
    nowMs = epochMs;
    runTest(tests[index]).then(
      () => host.testEnded(index, undefined),
      (error) => host.testEnded(index, describeError(error)),
    );
  },

  settle(call, isDone, body) {
    const { resolve, reject, error } = waiting.get(call);
    waiting.delete(call);
    if (isDone) {
      resolve(parse(body, unpackBytes));
      return;
    }
    error.message = body;
    reject(error);
  },
});
