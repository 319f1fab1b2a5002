/** What a guest can have besides the script API: the runner of tests needs a module of its own. */
import type { QuickJSContext } from 'quickjs-emscripten-core';
import type { HostFunctions } from '../host-functions/arguments.ts';

export interface GuestExtension {
  /** Texts by name, as for GuestModules. */
  readonly modules: ReadonlyMap<string, string>;
  /** Functions of `culvertHost`. None of them may enter the engine again. */
  functions(context: QuickJSContext): HostFunctions;
}

export const NO_EXTENSION: GuestExtension = { modules: new Map(), functions: () => ({}) };

export const joinExtensions = (...all: readonly GuestExtension[]): GuestExtension => ({
  modules: new Map(all.flatMap(({ modules }) => [...modules])),
  functions: (context) => Object.assign({}, ...all.map((one) => one.functions(context))),
});
