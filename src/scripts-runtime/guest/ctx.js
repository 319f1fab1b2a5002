/** The third argument of every hook. */
import { AbortSignal } from './abort-signal.js';
import { host, limits, onSettled, settings } from './host.js';
import { makeLog } from './log.js';
import { metrics } from './metrics.js';
import { describe } from './show.js';

/** Fires when a newer generation has taken over. */
export const scriptSignal = new AbortSignal();

let lastWait = 0;
/** The gateway keeps the sandbox until the promise is settled, or too long has passed. */
function waitUntil(promise) {
  lastWait++;
  const id = lastWait;
  if (!host.startWait(id)) {
    const error = new Error(`more than ${limits.waits} promises (waits)`);
    error.name = 'LimitError';
    throw error;
  }
  onSettled(
    Promise.resolve(promise),
    () => host.endWait(id, ''),
    (error) => host.endWait(id, describe(error)),
  );
}

export class Ctx {
  #serial;
  #log;
  constructor(serial) {
    this.#serial = serial;
  }
  get log() {
    this.#log ??= makeLog(this.#serial);
    return this.#log;
  }
  get metrics() {
    return metrics;
  }
  waitUntil(promise) {
    waitUntil(promise);
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
