/** `setTimeout` and its like. The gateway keeps the deadlines, and calls `fire`. */
import { host, limits } from './host.js';
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
  timers.set(id, () => callback(...args));
  return id;
};
export const clearTimeout = (id) => {
  if (timers.delete(id)) host.stopTimer(id);
};

/** Runs the callback of a timer. Returns what it threw, described. */
export function fire(id) {
  const timer = timers.get(id);
  timers.delete(id);
  try {
    timer?.();
    return undefined;
  } catch (error) {
    return describe(error);
  }
}
