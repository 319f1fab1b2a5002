/** `setTimeout` and its like. The gateway keeps the deadlines, and calls `fire`. */
import { host, limits } from './host.js';
import { TURN_OF, words } from './page.js';
import { describe } from './show.js';

const timers = new Map();
let lastTimer = 0;
export const setTimeout = (callback, delayMs, ...args) => {
  if (typeof callback !== 'function') throw new TypeError('setTimeout: no function');
  const id = lastTimer + 1;
  if (!host.startTimer(id, Number(delayMs) || 0)) {
    const error = new Error(`more than ${limits.timers} timers (timers)`);
    error.name = 'LimitError';
    throw error;
  }
  lastTimer = id;
  timers.set(id, { conn: words[TURN_OF], run: () => callback(...args) });
  return id;
};
export const clearTimeout = (id) => {
  if (timers.delete(id)) host.stopTimer(id);
};

/** Runs the callback of a timer. Returns what it threw, described. */
export function fire(id) {
  const timer = timers.get(id);
  timers.delete(id);
  // What it costs is charged to the connection that it works for.
  words[TURN_OF] = timer?.conn ?? 0;
  try {
    timer?.run();
    return undefined;
  } catch (error) {
    return describe(error);
  }
}

/** Those that a connection has set, which is gone and has cost enough. */
export function dropTimersOf(conn) {
  for (const [id, timer] of timers) if (timer.conn === conn) clearTimeout(id);
}
