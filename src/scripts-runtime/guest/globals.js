/** The globals of a script: ours are added, and what makes code from text is taken away. */
import { onSettled } from './host.js';
import { defineLazily } from './lazy.js';
import { console } from './log.js';
import { clearInterval, clearTimeout, setInterval, setTimeout } from './timers.js';

const now = Promise.resolve();
const queueMicrotask = (callback) => {
  if (typeof callback !== 'function') throw new TypeError('queueMicrotask: no function');
  onSettled(onSettled(now, callback), undefined, (error) => console.error(error));
};

const eager = {
  console,
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  queueMicrotask,
};
for (const name of Object.keys(eager)) {
  Object.defineProperty(globalThis, name, {
    configurable: true,
    writable: true,
    value: eager[name],
  });
}

defineLazily('abort-signal', ['AbortController', 'AbortSignal']);
defineLazily('base64', ['atob', 'btoa']);
defineLazily('crypto', ['crypto']);
defineLazily('dom-exception', ['DOMException']);
defineLazily('events', ['Event', 'EventTarget']);
defineLazily('performance', ['performance']);
defineLazily('streams', [
  'ByteLengthQueuingStrategy',
  'CountQueuingStrategy',
  'ReadableByteStreamController',
  'ReadableStream',
  'ReadableStreamBYOBReader',
  'ReadableStreamBYOBRequest',
  'ReadableStreamDefaultController',
  'ReadableStreamDefaultReader',
  'TextDecoderStream',
  'TextEncoderStream',
  'TransformStream',
  'TransformStreamDefaultController',
  'WritableStream',
  'WritableStreamDefaultController',
  'WritableStreamDefaultWriter',
]);
defineLazily('structured-clone', ['structuredClone']);
defineLazily('text-encoding', ['TextDecoder', 'TextEncoder']);
defineLazily('url', ['URL', 'URLSearchParams']);

// Code comes from the bundle, whose hash names it, and from nowhere else.
for (const name of ['eval', 'Function']) delete globalThis[name];
const refuse = () => {
  throw new Error('code cannot be made from text here');
};
for (const made of [() => {}, async () => {}, function* () {}, async function* () {}]) {
  Object.defineProperty(Object.getPrototypeOf(made), 'constructor', { value: refuse });
}
