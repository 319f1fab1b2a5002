/** `AbortController` and `AbortSignal`; the signals of the gateway are of the same class. */
import { DOMException } from './dom-exception.js';
import { Event, EventTarget, listenerCount } from './events.js';
import { startTimer } from './timers.js';

/** Only who has it makes a signal. */
const KEY = {};

export class AbortSignal extends EventTarget {
  #aborted = false;
  #reason;
  #onabort = null;
  #callOnabort = (event) => this.#onabort(event);
  /** What the gateway itself does when the signal fires, before any listener. */
  #algorithms = [];
  /** Of a signal that follows others. */
  #sources = [];
  /**
   * Signals that follow this one, weakly: what outlives thousands of flows (`ctx.signal`) must
   * not keep a signal for each. One that somebody listens to is held by `#awaited` too.
   */
  #followers = [];
  #sweepAt = 16;
  #awaited = new Set();
  constructor(key) {
    if (key !== KEY) throw new TypeError('AbortSignal: use an AbortController');
    super();
  }
  get aborted() {
    return this.#aborted;
  }
  get reason() {
    return this.#reason;
  }
  get onabort() {
    return this.#onabort;
  }
  set onabort(listener) {
    if (this.#onabort !== null) this.removeEventListener('abort', this.#callOnabort);
    this.#onabort = typeof listener === 'function' ? listener : null;
    if (this.#onabort !== null) this.addEventListener('abort', this.#callOnabort);
  }
  throwIfAborted() {
    if (this.#aborted) throw this.#reason;
  }
  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
    this.#updateSources();
  }
  removeEventListener(type, listener, options) {
    super.removeEventListener(type, listener, options);
    this.#updateSources();
  }
  static abort(reason) {
    const signal = new AbortSignal(KEY);
    AbortSignal.#fire(signal, reason);
    return signal;
  }
  static timeout(delayMs) {
    if (typeof delayMs !== 'number' || !(delayMs >= 0)) {
      throw new TypeError(`AbortSignal.timeout: the delay cannot be ${String(delayMs)}`);
    }
    const signal = new AbortSignal(KEY);
    startTimer(() => {
      AbortSignal.#fire(signal, new DOMException('the time is over', 'TimeoutError'));
    }, delayMs);
    return signal;
  }
  static any(signals) {
    const sources = [...signals];
    if (!sources.every((one) => typeof one === 'object' && one !== null && #aborted in one)) {
      throw new TypeError('AbortSignal.any: no list of signals');
    }
    const signal = new AbortSignal(KEY);
    const fired = sources.find((source) => source.#aborted);
    if (fired !== undefined) {
      AbortSignal.#fire(signal, fired.#reason);
      return signal;
    }
    for (const source of sources) {
      // Of a signal that follows others those are followed: it need not live on then.
      for (const one of source.#sources.length > 0 ? source.#sources : [source]) {
        signal.#sources.push(one);
        one.#follow(signal);
      }
    }
    return signal;
  }
  #follow(signal) {
    if (this.#followers.length >= this.#sweepAt) {
      this.#followers = this.#followers.filter((one) => one.deref() !== undefined);
      this.#sweepAt = Math.max(16, this.#followers.length * 2);
    }
    this.#followers.push(new WeakRef(signal));
  }
  #updateSources() {
    const isAwaited = !this.#aborted && (this.#algorithms.length > 0 || listenerCount(this) > 0);
    for (const source of this.#sources) {
      if (isAwaited) source.#awaited.add(this);
      else source.#awaited.delete(this);
    }
  }
  static #fire(signal, reason) {
    if (signal.#aborted) return;
    signal.#aborted = true;
    signal.#reason =
      reason === undefined ? new DOMException('the operation was aborted', 'AbortError') : reason;
    const algorithms = signal.#algorithms;
    signal.#algorithms = [];
    for (const algorithm of algorithms) algorithm(signal.#reason);
    signal.dispatchEvent(new Event('abort'));
    const followers = signal.#followers;
    signal.#followers = [];
    for (const follower of followers) {
      const one = follower.deref();
      if (one !== undefined) AbortSignal.#fire(one, signal.#reason);
    }
    signal.#awaited.clear();
    signal.#updateSources();
    signal.#sources = [];
  }
  static inner = {
    make: () => new AbortSignal(KEY),
    fire: (signal, reason) => AbortSignal.#fire(signal, reason),
    /** Has `algorithm(reason)` called; returns how to take that back. */
    onAbort: (signal, algorithm) => {
      if (signal.#aborted) {
        algorithm(signal.#reason);
        return () => {};
      }
      signal.#algorithms.push(algorithm);
      signal.#updateSources();
      return () => {
        signal.#algorithms = signal.#algorithms.filter((one) => one !== algorithm);
        signal.#updateSources();
      };
    },
  };
}
const { make, fire, onAbort } = AbortSignal.inner;
delete AbortSignal.inner;

export class AbortController {
  #signal = make();
  get signal() {
    return this.#signal;
  }
  abort(reason) {
    fire(this.#signal, reason);
  }
}

export const makeSignal = make;
/** Fires a signal for a reason of the gateway's, given in words. */
export const abortSignal = (signal, why) => fire(signal, new DOMException(why, 'AbortError'));
export { onAbort };
