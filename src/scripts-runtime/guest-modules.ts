/**
 * The modules that are ours inside the sandbox (guest/), by name. The engine's loader serves them
 * while they load; from then on a script can import `culvert` and what `allow` names, and no
 * other: `culvert/host.js` would be the way out.
 */
import type { JSModuleLoadResult, JSModuleNormalizeResult } from 'quickjs-emscripten-core';
import abortSignal from './guest/abort-signal.js' with { type: 'text' };
import ctx from './guest/ctx.js' with { type: 'text' };
import culvert from './guest/culvert.js' with { type: 'text' };
import entries from './guest/entries.js' with { type: 'text' };
import env from './guest/env.js' with { type: 'text' };
import flowInfo from './guest/flow-info.js' with { type: 'text' };
import globals from './guest/globals.js' with { type: 'text' };
import host from './guest/host.js' with { type: 'text' };
import kv from './guest/kv.js' with { type: 'text' };
import log from './guest/log.js' with { type: 'text' };
import metrics from './guest/metrics.js' with { type: 'text' };
import page from './guest/page.js' with { type: 'text' };
import sets from './guest/sets.js' with { type: 'text' };
import show from './guest/show.js' with { type: 'text' };
import timers from './guest/timers.js' with { type: 'text' };
import verdicts from './guest/verdicts.js' with { type: 'text' };
import { BUILTIN_MODULE } from './transpile.ts';

const FOLDER = `${BUILTIN_MODULE}/`;

const SOURCES: ReadonlyMap<string, string> = new Map([
  [BUILTIN_MODULE, culvert],
  [`${FOLDER}abort-signal.js`, abortSignal],
  [`${FOLDER}ctx.js`, ctx],
  [`${FOLDER}entries.js`, entries],
  [`${FOLDER}env.js`, env],
  [`${FOLDER}flow-info.js`, flowInfo],
  [`${FOLDER}globals.js`, globals],
  [`${FOLDER}host.js`, host],
  [`${FOLDER}kv.js`, kv],
  [`${FOLDER}log.js`, log],
  [`${FOLDER}metrics.js`, metrics],
  [`${FOLDER}page.js`, page],
  [`${FOLDER}sets.js`, sets],
  [`${FOLDER}show.js`, show],
  [`${FOLDER}timers.js`, timers],
  [`${FOLDER}verdicts.js`, verdicts],
]);

/** Run first: globals before anything of a script, entries last, as they need all others. */
export const GUEST_START = ['./globals.js', BUILTIN_MODULE, './entries.js']
  .map((name) => `import "${name}";`)
  .join('\n');
/** Name of the module with this text; imports are relative to it. */
export const GUEST_START_NAME = `${FOLDER}start.js`;

/** Answers the engine's questions for modules, of one engine. */
export class GuestModules {
  #isSealed = false;

  /** Ours are loaded: a script gets no other than `culvert` now. */
  seal(): void {
    this.#isSealed = true;
  }

  /** Names are checked here, as the engine asks for no text of what it has loaded already. */
  normalize(requested: string): JSModuleNormalizeResult {
    if (requested === BUILTIN_MODULE) return BUILTIN_MODULE;
    if (this.#isSealed || !requested.startsWith('./')) return { error: refusal(requested) };
    return FOLDER + requested.slice('./'.length);
  }

  load(name: string): JSModuleLoadResult {
    return SOURCES.get(name) ?? { error: refusal(name) };
  }
}

const refusal = (name: string): Error => new Error(`there is no module "${name}"`);
