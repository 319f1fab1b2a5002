/** `AbortSignal`, which only the gateway can fire. */
import { host } from './host.js';
import { describe } from './show.js';

export class AbortSignal {
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
export const abortSignal = AbortSignal.abort;
delete AbortSignal.abort;
