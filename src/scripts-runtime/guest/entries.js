/** What the gateway calls. */
import { connEvent, openConn } from './conn.js';
import { Ctx, retireScript } from './ctx.js';
import { env } from './env.js';
import { abortFlow, FlowInfo, serialOf } from './flow-info.js';
import { host, includes, join, onSettled, parse, slice, stringify } from './host.js';
import { CALL, DONE, NO_VERDICT, PENDING, REPLY, THREW, words } from './page.js';
import { cut, describe, show } from './show.js';
import { adoptSniffs } from './sniffs.js';
import { fire } from './timers.js';
import { bodyOf, isVerdict, replyOf, setClaiming } from './verdicts.js';

/** Besides `flow`. */
const HOOKS = ['load', 'unload', 'scheduled', 'closed'];
const { keys } = Object;
const KNOWN = ['flow', 'connect', ...HOOKS];
const ASYNC = 'async ';

let script;
/** Those of HOOKS that the script has. */
const hooks = [];
/** Calls whose promise is not settled: the flow behind each. */
const waiting = new Map();

/** Writes how the call went to the page; text that belongs to it is returned. */
function answer(value) {
  if (!isVerdict(value)) {
    words[REPLY] = NO_VERDICT;
    return `flow() returned ${show(value)}`;
  }
  words[REPLY] = replyOf(value);
  return bodyOf(value);
}

function failed(error) {
  words[REPLY] = THREW;
  return describe(error);
}

function settle(call, reply) {
  if (!waiting.delete(call)) return;
  const body = reply();
  host.settle(call, words[REPLY], body);
}

/** Runs a hook that gives no verdict. Its promise keeps the generation in memory. */
function runHook(call, work) {
  try {
    const value = work();
    if (typeof value?.then !== 'function') {
      words[REPLY] = DONE;
      return '';
    }
    onSettled(
      Promise.resolve(value),
      () => host.hookDone(call, ''),
      (error) => host.hookDone(call, describe(error)),
    );
    words[REPLY] = PENDING;
    return undefined;
  } catch (error) {
    return failed(error);
  }
}

/** What `unload` returns, as JSON; '' for nothing. */
function handOver(work) {
  try {
    const state = work();
    if (typeof state?.then === 'function') {
      throw new TypeError('unload() returned a promise: what it hands over must be there at once');
    }
    words[REPLY] = DONE;
    return stringify(state) ?? '';
  } catch (error) {
    return failed(error);
  }
}

/**
 * What is wrong with a method whose name is nearly that of a hook, with its place below as in a
 * stack. Only keys of the object itself: a class may have methods of its own.
 */
function misspeltHook(exported) {
  const own = keys(exported);
  for (let i = 0; i < own.length; i++) {
    const method = exported[own[i]];
    if (typeof method !== 'function' || includes(KNOWN, own[i])) continue;
    const fault = host.unknownHook(cut(own[i]), join(KNOWN, ','));
    if (fault === undefined) continue;
    const { fileName, lineNumber, columnNumber } = method;
    // A source map knows names, and no "async" in front of them.
    const isAsync = slice(`${method}`, 0, ASYNC.length) === ASYNC;
    const place = `${fileName}:${lineNumber}:${columnNumber + (isAsync ? ASYNC.length : 0)}`;
    return `${fault}\n    at ${cut(place)}`;
  }
  return undefined;
}

host.connect({
  /** Takes the script. Returns what is wrong with it, or undefined. */
  adopt(exported) {
    if (typeof exported !== 'object' || exported === null) {
      return 'the script must export default an object with a method flow()';
    }
    const unknown = misspeltHook(exported);
    if (unknown !== undefined) return unknown;
    if (typeof exported.flow !== 'function') return 'the default export has no method flow()';
    for (const hook of HOOKS) {
      const method = exported[hook];
      if (method === undefined) continue;
      if (typeof method !== 'function') return `${hook} of the default export is no method`;
      hooks.push(hook);
    }
    const problem = adoptSniffs(exported.sniffs);
    if (problem !== undefined) return problem;
    const { connect } = exported;
    if (connect !== undefined && typeof connect !== 'function') return 'connect is no method';
    setClaiming(connect !== undefined);
    script = exported;
    return undefined;
  },

  decide(sourceIp, destinationIp, dnsName, sniffed) {
    const call = words[CALL];
    try {
      const flow = new FlowInfo(sourceIp, destinationIp, dnsName, sniffed);
      const value = script.flow(flow, env, new Ctx(serialOf(flow)));
      if (isVerdict(value) || typeof value?.then !== 'function') return answer(value);
      waiting.set(call, flow);
      onSettled(
        Promise.resolve(value),
        (verdict) => settle(call, () => answer(verdict)),
        (error) => settle(call, () => failed(error)),
      );
      words[REPLY] = PENDING;
      return undefined;
    } catch (error) {
      return failed(error);
    }
  },

  abort(call, why) {
    const flow = waiting.get(call);
    waiting.delete(call);
    if (flow !== undefined) abortFlow(flow, why);
  },

  hooks: () => join(hooks, ','),

  /** Calls a hook by its name; `json` is what it is told, if that is anything. */
  hook(name, json, sourceIp, destinationIp, dnsName) {
    const call = words[CALL];
    if (name === 'unload') return handOver(() => script.unload(env, new Ctx(0)));
    const told = json === '' ? null : parse(json);
    if (name !== 'closed') return runHook(call, () => script[name](told, env, new Ctx(0)));
    const flow = new FlowInfo(sourceIp, destinationIp, dnsName);
    // Nothing of the first packet is known any more.
    delete flow.syn;
    return runHook(call, () => script.closed(flow, told, env, new Ctx(serialOf(flow))));
  },

  connOpen(...ends) {
    openConn(script, env, (flow) => new Ctx(serialOf(flow)), ...ends);
  },

  connEvent,

  /** The generation is being replaced. */
  retire() {
    retireScript('a new generation took over');
  },

  fire,
});
