/** The functions behind hooks and `ctx.waitUntil`. */
import type { QuickJSContext } from 'quickjs-emscripten-core';
import { nearest } from '../suggest.ts';
import { type HostFunctions, readNumber, readText } from './arguments.ts';

/** What hooks tell while a turn runs. None of it may enter the engine again. */
export interface GuestHookPorts {
  /** A promise of a hook was settled; `error` is '' when it was fulfilled. */
  hookDone(call: number, error: string): void;
  /** @param of  whose turn it is. @returns false when as many are waited for as may be */
  startWait(id: number, of: number): boolean;
  /** As `hookDone`, of a promise that was given to `waitUntil`. */
  endWait(id: number, error: string): void;
}

export const hookFunctions = (context: QuickJSContext, ports: GuestHookPorts): HostFunctions => ({
  hookDone: (call, error) => {
    ports.hookDone(readNumber(context, call), readText(context, error) ?? '');
    return undefined;
  },
  startWait: (id, of) => {
    const isStarted = ports.startWait(readNumber(context, id), readNumber(context, of));
    return isStarted ? context.true : context.false;
  },
  endWait: (id, error) => {
    ports.endWait(readNumber(context, id), readText(context, error) ?? '');
    return undefined;
  },
  unknownHook: (name, known) => {
    const method = readText(context, name) ?? '';
    const meant = nearest(method, readText(context, known)?.split(',') ?? []);
    if (meant === undefined) return undefined;
    const what = `the default export has a method "${method}" that nothing calls`;
    return context.newString(`${what}, did you mean "${meant}"?`);
  },
});
