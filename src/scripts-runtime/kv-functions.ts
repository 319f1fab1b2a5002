/** The function of `host` behind `env.KV`; see guest/kv.js. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { KvValue } from './kv.ts';
import type { KvCalls, KvResult } from './kv-calls.ts';

export const kvFunctions = (context: QuickJSContext, calls: KvCalls) => ({
  kv: (...handles: QuickJSHandle[]): QuickJSHandle => {
    const [operation, key, x, y, z] = handles.map((handle) => readKvValue(context, handle));
    return kvHandle(context, calls.run(String(operation ?? ''), String(key ?? ''), x, y, z));
  },
});

function kvHandle(context: QuickJSContext, value: KvResult): QuickJSHandle {
  if (typeof value === 'string') return context.newString(value);
  if (typeof value === 'number') return context.newNumber(value);
  if (value === undefined) return context.undefined;
  if (value === null) return context.null;
  return value ? context.true : context.false;
}

function readKvValue(context: QuickJSContext, handle: QuickJSHandle): KvValue | undefined {
  const type = context.typeof(handle);
  if (type === 'string') return context.getString(handle);
  return type === 'number' ? context.getNumber(handle) : undefined;
}
