/**
 * The modules that are ours inside the sandbox (guest/), by name. The engine's loader serves them
 * while they load; from then on a script can import `culvert` and what `allow` names, and no
 * other: `culvert/host.js` would be the way out.
 */
import type { JSModuleLoadResult, JSModuleNormalizeResult } from 'quickjs-emscripten-core';
import webStreams from 'web-streams-polyfill/dist/ponyfill.mjs' with { type: 'text' };
import { BUILTIN_MODULE } from '../bundle/transpile.ts';
import abortSignal from '../guest/abort-signal.js' with { type: 'text' };
import base64 from '../guest/base64.js' with { type: 'text' };
import bytes from '../guest/bytes.js' with { type: 'text' };
import chunk from '../guest/chunk.js' with { type: 'text' };
import conn from '../guest/conn.js' with { type: 'text' };
import connStreams from '../guest/conn-streams.js' with { type: 'text' };
import crypto from '../guest/crypto.js' with { type: 'text' };
import ctx from '../guest/ctx.js' with { type: 'text' };
import culvert from '../guest/culvert.js' with { type: 'text' };
import deferred from '../guest/deferred.js' with { type: 'text' };
import domException from '../guest/dom-exception.js' with { type: 'text' };
import end from '../guest/end.js' with { type: 'text' };
import entries from '../guest/entries.js' with { type: 'text' };
import env from '../guest/env.js' with { type: 'text' };
import events from '../guest/events.js' with { type: 'text' };
import flowInfo from '../guest/flow-info.js' with { type: 'text' };
import guestFunction from '../guest/function.js' with { type: 'text' };
import globals from '../guest/globals.js' with { type: 'text' };
import host from '../guest/host.js' with { type: 'text' };
import kv from '../guest/kv.js' with { type: 'text' };
import lazy from '../guest/lazy.js' with { type: 'text' };
import log from '../guest/log.js' with { type: 'text' };
import metrics from '../guest/metrics.js' with { type: 'text' };
import page from '../guest/page.js' with { type: 'text' };
import performance from '../guest/performance.js' with { type: 'text' };
import plain from '../guest/plain.js' with { type: 'text' };
import sets from '../guest/sets.js' with { type: 'text' };
import show from '../guest/show.js' with { type: 'text' };
import sniff from '../guest/sniff.js' with { type: 'text' };
import sniffs from '../guest/sniffs.js' with { type: 'text' };
import socket from '../guest/socket.js' with { type: 'text' };
import socketError from '../guest/socket-error.js' with { type: 'text' };
import streams from '../guest/streams.js' with { type: 'text' };
import structuredClone from '../guest/structured-clone.js' with { type: 'text' };
import textEncoding from '../guest/text-encoding.js' with { type: 'text' };
import timers from '../guest/timers.js' with { type: 'text' };
import url from '../guest/url.js' with { type: 'text' };
import verdicts from '../guest/verdicts.js' with { type: 'text' };

const FOLDER = `${BUILTIN_MODULE}/`;

const SOURCES: ReadonlyMap<string, string> = new Map([
  [BUILTIN_MODULE, culvert],
  [`${FOLDER}abort-signal.js`, abortSignal],
  [`${FOLDER}base64.js`, base64],
  [`${FOLDER}bytes.js`, bytes],
  [`${FOLDER}crypto.js`, crypto],
  [`${FOLDER}ctx.js`, ctx],
  [`${FOLDER}dom-exception.js`, domException],
  [`${FOLDER}entries.js`, entries],
  [`${FOLDER}env.js`, env],
  [`${FOLDER}events.js`, events],
  [`${FOLDER}flow-info.js`, flowInfo],
  [`${FOLDER}function.js`, guestFunction],
  [`${FOLDER}globals.js`, globals],
  [`${FOLDER}host.js`, host],
  [`${FOLDER}kv.js`, kv],
  [`${FOLDER}lazy.js`, lazy],
  [`${FOLDER}log.js`, log],
  [`${FOLDER}metrics.js`, metrics],
  [`${FOLDER}page.js`, page],
  [`${FOLDER}performance.js`, performance],
  [`${FOLDER}plain.js`, plain],
  [`${FOLDER}sets.js`, sets],
  [`${FOLDER}show.js`, show],
  [`${FOLDER}sniffs.js`, sniffs],
  [`${FOLDER}streams.js`, streams],
  [`${FOLDER}structured-clone.js`, structuredClone],
  [`${FOLDER}text-encoding.js`, textEncoding],
  [`${FOLDER}timers.js`, timers],
  [`${FOLDER}url.js`, url],
  [`${FOLDER}chunk.js`, chunk],
  [`${FOLDER}conn.js`, conn],
  [`${FOLDER}conn-streams.js`, connStreams],
  [`${FOLDER}deferred.js`, deferred],
  [`${FOLDER}end.js`, end],
  [`${FOLDER}sniff.js`, sniff],
  [`${FOLDER}socket.js`, socket],
  [`${FOLDER}socket-error.js`, socketError],
  [`${FOLDER}verdicts.js`, verdicts],
  [`${FOLDER}web-streams.js`, `import { Function } from './function.js';${webStreams}`],
]);

/**
 * Run first: globals before anything of a script, then entries, as they need all others.
 *
 * @param extra  as for GuestModules
 */
export const guestStart = (extra: ReadonlyMap<string, string>): string =>
  ['./globals.js', BUILTIN_MODULE, './entries.js', ...extra.keys()]
    .filter((name) => !name.startsWith(FOLDER))
    .map((name) => `import "${name}";`)
    .join('\n');
/** Name of the module with this text; imports are relative to it. */
export const GUEST_START_NAME = `${FOLDER}start.js`;

/**
 * Words by which a script shows that it will want a module of those that are left out at the
 * start. To run them takes milliseconds, which belong to the load and not to a decision.
 */
const WORDS: readonly (readonly [words: RegExp, module: string])[] = [
  [/\b(?:AbortController|AbortSignal|signal)\b/, 'abort-signal'],
  [/\b(?:atob|btoa)\b/, 'base64'],
  [/\bcrypto\b/, 'crypto'],
  [/\bEvent(?:Target)?\b/, 'events'],
  [/\b(?:readable|writable)\b|(?:Stream|QueuingStrategy)\b/, 'streams'],
  [/\bstructuredClone\b/, 'structured-clone'],
  [/\bText(?:De|En)coder\b/, 'text-encoding'],
  [/\bURL(?:SearchParams)?\b/, 'url'],
];

/** Modules that the text of a script seems to need. */
export const modulesWantedBy = (code: string): string[] =>
  WORDS.filter(([words]) => words.test(code)).map(([, module]) => module);

/** Answers the engine's questions for modules, of one engine. */
export class GuestModules {
  readonly #extra: ReadonlyMap<string, string>;
  #isSealed = false;

  /** @param extra  texts by name: served like ours, and those outside our folder to everybody */
  constructor(extra: ReadonlyMap<string, string>) {
    this.#extra = extra;
  }

  /** Ours are loaded: a script gets no other than `culvert` now. */
  seal(): void {
    this.#isSealed = true;
  }

  /**
   * Loads one of ours that was left out at the start.
   *
   * Code of a script can run meanwhile, where our module uses what a script has replaced. It does
   * not get at others that way: an `import()` is answered by a job, after the turn's own work.
   *
   * @param run  given a text and the name of the module that it is
   */
  open<T>(name: string, run: (source: string, file: string) => T): T {
    this.#isSealed = false;
    try {
      return run(`export * from "./${name}.js";`, `${FOLDER}lazy-${name}.js`);
    } finally {
      this.#isSealed = true;
    }
  }

  /** Names are checked here, as the engine asks for no text of what it has loaded already. */
  normalize(requested: string): JSModuleNormalizeResult {
    if (requested === BUILTIN_MODULE) return BUILTIN_MODULE;
    if (this.#extra.has(requested) && !requested.startsWith(FOLDER)) return requested;
    if (this.#isSealed || !requested.startsWith('./')) return { error: refusal(requested) };
    return FOLDER + requested.slice('./'.length);
  }

  load(name: string): JSModuleLoadResult {
    return SOURCES.get(name) ?? this.#extra.get(name) ?? { error: refusal(name) };
  }
}

const refusal = (name: string): Error => new Error(`there is no module "${name}"`);
