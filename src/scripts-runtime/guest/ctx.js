/** The third argument of every hook. */
import { AbortSignal } from './abort-signal.js';
import { limits, settings } from './host.js';
import { makeLog } from './log.js';
import { metrics } from './metrics.js';

/** Fires when a newer generation has taken over. */
export const scriptSignal = new AbortSignal();

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
