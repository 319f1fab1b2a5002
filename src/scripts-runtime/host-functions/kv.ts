/** `culvertHost.kv`: the calls of `env.KV` cross into the gateway. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { KvCalls, KvResult } from '../kv/kv-calls.ts';
import { type HostFunctions, readKvValue, readText } from './arguments.ts';

export const kvFunctions = (context: QuickJSContext, kv: KvCalls): HostFunctions => ({
  kv: (operation, key, value, a, b) => {
    const [x, y, z] = [value, a, b].map((handle) => readKvValue(context, handle));
    const name = readText(context, operation) ?? '';
    return toHandle(context, kv.run(name, readText(context, key) ?? '', x, y, z));
  },
});

function toHandle(context: QuickJSContext, value: KvResult): QuickJSHandle {
  if (typeof value === 'string') return context.newString(value);
  if (typeof value === 'number') return context.newNumber(value);
  if (value === undefined) return context.undefined;
  if (value === null) return context.null;
  return value ? context.true : context.false;
}
