/** What guest/sniffs.js calls. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import { DATAGRAM_PROTOCOLS } from './datagrams.ts';
import type { SniffProtocol } from './sniffed.ts';

/** @param wanted  gets what the script asks for */
export const sniffFunctions = (context: QuickJSContext, wanted: SniffProtocol[]) => ({
  /** Asks for one protocol; false when there is none of the name. */
  sniff: (name: QuickJSHandle | undefined): QuickJSHandle => {
    const isText = name !== undefined && context.typeof(name) === 'string';
    const text = isText ? context.getString(name) : '';
    const protocol = DATAGRAM_PROTOCOLS.find((known) => known === text);
    if (protocol === undefined) return context.false;
    if (!wanted.includes(protocol)) wanted.push(protocol);
    return context.true;
  },
});
