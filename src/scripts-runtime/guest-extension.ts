/** What a guest can have besides the script API: the runner of tests needs a module of its own. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';

/** Functions of `culvertHost`. None of them may enter the engine again. */
export type HostFunctions = Readonly<
  Record<string, (...args: QuickJSHandle[]) => QuickJSHandle | undefined>
>;

export interface GuestExtension {
  /** Texts by name, as for GuestModules. */
  readonly modules: ReadonlyMap<string, string>;
  functions(context: QuickJSContext): HostFunctions;
}

export const NO_EXTENSION: GuestExtension = { modules: new Map(), functions: () => ({}) };
