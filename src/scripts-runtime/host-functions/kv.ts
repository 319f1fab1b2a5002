/** `culvertHost.kv`: the calls of `env.KV` cross into the gateway. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { KvValue } from '../kv.ts';
import type { KvCalls, KvResult } from '../kv-calls.ts';
import { type HostFunctions, readText } from './arguments.ts';

export const kvFunctions = (context: QuickJSContext, kv: KvCalls): HostFunctions => ({
  kv: (operation, key, value, a, b) => {
    const [x, y, z] = [value, a, b].map((handle) => readValue(context, handle));
    const name = readText(context, operation) ?? '';
    return toHandle(context, kv.run(name, readText(context, key) ?? '', x, y, z));
  },
});

function readValue(
  context: QuickJSContext,
  handle: QuickJSHandle | undefined,
): KvValue | undefined {
  if (handle === undefined) return undefined;
  const type = context.typeof(handle);
  if (type === 'string') return context.getString(handle);
  return type === 'number' ? context.getNumber(handle) : undefined;
}

function toHandle(context: QuickJSContext, value: KvResult): QuickJSHandle {
  if (typeof value === 'string') return context.newString(value);
  if (typeof value === 'number') return context.newNumber(value);
  if (value === undefined) return context.undefined;
  if (value === null) return context.null;
  return value ? context.true : context.false;
}
