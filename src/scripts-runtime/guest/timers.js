/** `setTimeout` and its like. The gateway keeps the deadlines, and calls `fire`. */
import { host, limits } from './host.js';
import { TURN_OF, words } from './page.js';
import { describe } from './show.js';

const toNumber = Number;
/** By id: what to run, and of an interval its delay in milliseconds. */
const timers = new Map();
let lastTimer = 0;
/** Connections that have used up their processor time. */
const spent = new Set();

function limitError(message) {
  const error = new Error(message);
  error.name = 'LimitError';
  return error;
}

/** Runs `callback` after a delay, once, or with `isRepeated` from then on. Returns an id. */
export function startTimer(callback, delayMs, isRepeated = false) {
  const id = lastTimer + 1;
  const delay = toNumber(delayMs) || 0;
  if (spent.has(words[TURN_OF])) {
    throw limitError('the connection has used up its processor time (connCpuMs)');
  }
  if (!host.startTimer(id, delay)) throw limitError(`more than ${limits.timers} timers (timers)`);
  lastTimer = id;
  timers.set(id, { callback, period: isRepeated ? delay : undefined, conn: words[TURN_OF] });
  return id;
}

export const stopTimer = (id) => {
  if (timers.delete(id)) host.stopTimer(id);
};

function checkCallback(name, callback) {
  if (typeof callback !== 'function') throw new TypeError(`${name}: no function`);
}

export const setTimeout = (callback, delayMs, ...args) => {
  checkCallback('setTimeout', callback);
  return startTimer(() => callback(...args), delayMs);
};
export const setInterval = (callback, delayMs, ...args) => {
  checkCallback('setInterval', callback);
  return startTimer(() => callback(...args), delayMs, true);
};
// One is as good as the other: both kinds share their ids.
export const clearTimeout = (id) => stopTimer(id);
export const clearInterval = (id) => stopTimer(id);

/** Runs the callback of a timer. Returns what it threw, described. */
export function fire(id) {
  const timer = timers.get(id);
  if (timer === undefined) return undefined;
  // What it costs is charged to the connection that it works for.
  words[TURN_OF] = timer.conn;
  // What it had was freed before this call, so there is room.
  if (timer.period === undefined) timers.delete(id);
  else host.startTimer(id, timer.period);
  // What it costs is charged to the connection that it works for.
  words[TURN_OF] = timer.conn;
  try {
    timer.callback();
    return undefined;
  } catch (error) {
    return describe(error);
  }
}

/**
 * A connection has cost enough: what waits for a time goes on once more, and so hears of it, but
 * nothing is repeated, and no other timer is set in its name.
 */
export function endTimersOf(conn) {
  spent.add(conn);
  for (const [id, timer] of timers) {
    if (timer.conn === conn && timer.period !== undefined) stopTimer(id);
  }
}
