/** `culvertHost.kv`: the calls of `env.KV` cross into the gateway. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { KvCalls, KvResult } from '../kv/kv-calls.ts';
import { type HostFunctions, readKvValue, readNumber, readText } from './arguments.ts';

/** The same in guest/kv.js. */
const JSON_FLAG = 1;
const EVICT_FLAG = 2;

export const kvFunctions = (context: QuickJSContext, kv: KvCalls): HostFunctions => ({
  kv: (operation, key, value, a, b, flagsGiven) => {
    const flags = readNumber(context, flagsGiven);
    const areJson = (flags & JSON_FLAG) !== 0;
    const read = (handle: QuickJSHandle | undefined) => readKvValue(context, handle, areJson);
    const name = readText(context, operation) ?? '';
    const evicts = (flags & EVICT_FLAG) !== 0;
    const [k, v, first, second] = [String(read(key) ?? ''), read(value), read(a), read(b)];
    return toHandle(context, kv.run(name, k, v, first, second, evicts));
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
