/**
 * What a function of the gateway was given by the sandbox. Nothing is converted: that could run
 * code of a script in the middle of ours.
 */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { KvValue } from '../kv/kv.ts';

/** A function that the sandbox calls. */
export type HostFunction = (...args: QuickJSHandle[]) => QuickJSHandle | undefined;
export type HostFunctions = Readonly<Record<string, HostFunction>>;

export const readText = (
  context: QuickJSContext,
  handle: QuickJSHandle | undefined,
): string | undefined =>
  handle !== undefined && context.typeof(handle) === 'string'
    ? context.getString(handle)
    : undefined;

/** 0 where there is no number, and for NaN. */
export const readNumber = (context: QuickJSContext, handle: QuickJSHandle | undefined): number =>
  handle !== undefined && context.typeof(handle) === 'number' ? context.getNumber(handle) || 0 : 0;

/** Undefined for what KV cannot keep. */
export function readKvValue(
  context: QuickJSContext,
  handle: QuickJSHandle | undefined,
): KvValue | undefined {
  if (handle === undefined) return undefined;
  const type = context.typeof(handle);
  if (type === 'string') return context.getString(handle);
  return type === 'number' ? context.getNumber(handle) : undefined;
}
