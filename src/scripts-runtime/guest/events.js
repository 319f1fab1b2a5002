/** `Event` and `EventTarget`, as far as signals need them: there is no tree to travel through. */
import { host } from './host.js';
import { describe } from './show.js';

const ERROR_LEVEL = 3;

export class Event {
  #type;
  #cancelable;
  #target = null;
  #isDispatched = false;
  #isStopped = false;
  #isPrevented = false;
  constructor(type, options) {
    if (type === undefined) throw new TypeError('Event: a type is needed');
    this.#type = `${type}`;
    this.#cancelable = Boolean(options?.cancelable);
  }
  get type() {
    return this.#type;
  }
  get target() {
    return this.#target;
  }
  get currentTarget() {
    return this.#isDispatched ? this.#target : null;
  }
  get cancelable() {
    return this.#cancelable;
  }
  get defaultPrevented() {
    return this.#isPrevented;
  }
  preventDefault() {
    if (this.#cancelable) this.#isPrevented = true;
  }
  stopImmediatePropagation() {
    this.#isStopped = true;
  }
  static begin(event, target) {
    if (typeof event !== 'object' || event === null || !(#type in event)) {
      throw new TypeError('dispatchEvent: no Event');
    }
    if (event.#isDispatched) throw new TypeError('dispatchEvent: the event is on its way');
    event.#target = target;
    event.#isDispatched = true;
    event.#isStopped = false;
  }
  static end(event) {
    event.#isDispatched = false;
  }
  static isStopped(event) {
    return event.#isStopped;
  }
}
const { begin, end, isStopped } = Event;
for (const name of ['begin', 'end', 'isStopped']) delete Event[name];

/** What a listener throws is a line in the log; the next one is called all the same. */
function callListener(target, listener, event) {
  try {
    if (typeof listener === 'function') listener.call(target, event);
    else listener.handleEvent(event);
  } catch (error) {
    host.log(ERROR_LEVEL, 0, `a listener threw ${describe(error)}`);
  }
}

const isListener = (value) =>
  typeof value === 'function' || (typeof value === 'object' && value !== null);
const isCapture = (options) => Boolean(typeof options === 'object' ? options?.capture : options);

export class EventTarget {
  /** In the order of adding. */
  #listeners = [];
  addEventListener(type, listener, options) {
    if (!isListener(listener)) {
      if (listener === null || listener === undefined) return;
      throw new TypeError('addEventListener: no listener');
    }
    const name = `${type}`;
    const capture = isCapture(options);
    const once = Boolean(options?.once);
    const signal = options?.signal;
    if (signal?.aborted || this.#find(name, listener, capture) >= 0) return;
    this.#listeners = [...this.#listeners, { name, listener, capture, once }];
    signal?.addEventListener('abort', () => this.removeEventListener(name, listener, capture));
  }
  removeEventListener(type, listener, options) {
    const at = this.#find(`${type}`, listener, isCapture(options));
    if (at >= 0) this.#listeners = this.#listeners.filter((_, i) => i !== at);
  }
  dispatchEvent(event) {
    begin(event, this);
    const { type } = event;
    for (const entry of this.#listeners) {
      if (entry.name !== type || !this.#listeners.includes(entry)) continue;
      if (entry.once) this.#listeners = this.#listeners.filter((one) => one !== entry);
      callListener(this, entry.listener, event);
      if (isStopped(event)) break;
    }
    end(event);
    return !event.defaultPrevented;
  }
  #find(name, listener, capture) {
    return this.#listeners.findIndex(
      (one) => one.name === name && one.listener === listener && one.capture === capture,
    );
  }
  static count(target) {
    return target.#listeners.length;
  }
}
export const listenerCount = EventTarget.count;
delete EventTarget.count;
