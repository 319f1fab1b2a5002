/**
 * WebAssembly instances of QuickJS, all of one compiled module: what JavaScriptCore has made fast
 * in one is fast in the next. Compiled for each, an instance takes 25 ms and its first thousand
 * lines of script 100 to 300; of a shared module 1 to 5 ms and 30 to 60.
 */
import variant from '@jitl/quickjs-singlefile-mjs-release-sync';
import { newQuickJSWASMModuleFromVariant, newVariant } from 'quickjs-emscripten-core';
import type { BareEngine } from './engine.ts';

let shared: Promise<WebAssembly.Module> | undefined;

/** An instance that no script has touched. It is the only thing of an engine to be awaited. */
export async function makeBareEngine(): Promise<BareEngine> {
  shared ??= compile();
  return newQuickJSWASMModuleFromVariant(newVariant(variant, { wasmModule: await shared }));
}

/** The variant keeps its bytes to itself: they are seen on their way into a first instance. */
async function compile(): Promise<WebAssembly.Module> {
  const { instantiate } = WebAssembly;
  let module: WebAssembly.Module | undefined;
  const watch = async (...given: Parameters<typeof instantiate>) => {
    const made: unknown = await instantiate(...given);
    ({ module } = made as { module: WebAssembly.Module });
    return made;
  };
  Object.assign(WebAssembly, { instantiate: watch });
  try {
    await newQuickJSWASMModuleFromVariant(variant);
  } finally {
    Object.assign(WebAssembly, { instantiate });
  }
  if (module === undefined) throw new Error('QuickJS came without WebAssembly');
  return module;
}
