/**
 * Modules of ours that are run when something of them is first used: a script that only decides
 * pays neither time nor memory for the others.
 */
import { host } from './host.js';

const { defineProperty } = Object;
const loaded = { __proto__: null };

/** Exports of `NAME.js`. */
export const load = (name) => {
  loaded[name] ??= host.module(name);
  return loaded[name];
};

const define = (name, value) => {
  const how = { __proto__: null, configurable: true, writable: true, enumerable: false, value };
  defineProperty(globalThis, name, how);
};

/** Globals that are exports of a module; each can be replaced, as those of the language can. */
export function defineLazily(module, names) {
  for (const name of names) {
    defineProperty(globalThis, name, {
      __proto__: null,
      configurable: true,
      enumerable: false,
      get() {
        const value = load(module)[name];
        define(name, value);
        return value;
      },
      set(value) {
        define(name, value);
      },
    });
  }
}
