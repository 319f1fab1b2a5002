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

/** Text that came as JSON, because it has what cannot cross. */
export function parseText(json: string): string {
  const text: unknown = JSON.parse(json);
  return typeof text === 'string' ? text : '';
}

/**
 * Undefined for what KV cannot keep.
 *
 * @param isJson  text is JSON
 */
export function readKvValue(
  context: QuickJSContext,
  handle: QuickJSHandle | undefined,
  isJson: boolean,
): KvValue | undefined {
  if (handle === undefined) return undefined;
  const type = context.typeof(handle);
  if (type === 'number') return context.getNumber(handle);
  if (type !== 'string') return undefined;
  const text = context.getString(handle);
  return isJson ? parseText(text) : text;
}
