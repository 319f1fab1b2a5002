/** The third argument of every hook. */
import { host, limits, onSettled, settings } from './host.js';
import { load } from './lazy.js';
import { makeLog } from './log.js';
import { metrics } from './metrics.js';
import { TURN_OF, words } from './page.js';
import { describe } from './show.js';

/** Fires when a newer generation has taken over. Made when a script first asks for it. */
let signal;
let retiredFor;

const signals = () => load('abort-signal');

export function retireScript(why) {
  retiredFor = why;
  if (signal !== undefined) signals().abortSignal(signal, why);
}

function scriptSignal() {
  if (signal !== undefined) return signal;
  signal = signals().makeSignal();
  if (retiredFor !== undefined) signals().abortSignal(signal, retiredFor);
  return signal;
}

let lastWait = 0;
/** The gateway keeps the sandbox until the promise is settled, or too long has passed. */
function waitUntil(promise) {
  lastWait++;
  const id = lastWait;
  if (!host.startWait(id, words[TURN_OF])) {
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
    return scriptSignal();
  }
}
