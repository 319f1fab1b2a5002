/** The globals of a script: ours are added, and what makes code from text is taken away. */
import { console } from './log.js';
import { clearTimeout, setTimeout } from './timers.js';

globalThis.console = console;
globalThis.setTimeout = setTimeout;
globalThis.clearTimeout = clearTimeout;
globalThis.queueMicrotask = (callback) => {
  Promise.resolve().then(callback);
};

// Code comes from the bundle, whose hash names it, and from nowhere else.
for (const name of ['eval', 'Function']) delete globalThis[name];
const refuse = () => {
  throw new Error('code cannot be made from text here');
};
for (const made of [() => {}, async () => {}, function* () {}, async function* () {}]) {
  Object.defineProperty(Object.getPrototypeOf(made), 'constructor', { value: refuse });
}
