/** `culvertHost.kv`: the calls of `env.KV` cross into the gateway. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { KvCalls, KvResult } from '../kv/kv-calls.ts';
import { type HostFunctions, readKvValue, readNumber, readText } from './arguments.ts';

export const kvFunctions = (context: QuickJSContext, kv: KvCalls): HostFunctions => ({
  kv: (operation, key, value, a, b, isJson) => {
    const areJson = readNumber(context, isJson) === 1;
    const read = (handle: QuickJSHandle | undefined) => readKvValue(context, handle, areJson);
    const name = readText(context, operation) ?? '';
    return toHandle(context, kv.run(name, String(read(key) ?? ''), read(value), read(a), read(b)));
  },
});

/** True stands for text that cannot cross as it is: see guest/kv.js. */
function toHandle(context: QuickJSContext, value: KvResult): QuickJSHandle {
  if (typeof value === 'string')
    return isPlainText(value) ? context.newString(value) : context.true;
  if (typeof value === 'number') return context.newNumber(value);
  if (value === undefined) return context.undefined;
  if (value === null) return context.null;
  return value ? context.true : context.false;
}

const isPlainText = (text: string): boolean => text.isWellFormed() && !text.includes('\0');
