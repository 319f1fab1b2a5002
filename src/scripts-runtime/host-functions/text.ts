import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';

/** An argument of a host function as text; undefined where the guest gave none. */
export const readText = (
  context: QuickJSContext,
  handle: QuickJSHandle | undefined,
): string | undefined =>
  handle === undefined || context.typeof(handle) === 'undefined'
    ? undefined
    : context.getString(handle);
