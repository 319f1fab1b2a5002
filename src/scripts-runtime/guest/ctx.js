/** The third argument of every hook. */
import { limits, settings } from './host.js';
import { load } from './lazy.js';
import { makeLog } from './log.js';

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
