/**
 * The outer half of the script API; guest/ is the inner half. Calls go in as two strings and a
 * page of memory that both sides read, because each value that crosses costs a microsecond.
 */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import { CONGESTION_NAMES, type ConnectionRequest, type FlowProtocol } from '../stack/verdict.ts';
import type { LogLevel } from './bundle.ts';
import {
  type BareEngine,
  type Breakage,
  Engine,
  type EngineClock,
  type SharedPage,
  type Thrown,
} from './engine.ts';
import { GUEST_START, GUEST_START_NAME, GuestModules } from './guest-modules.ts';
import type { Kv, KvValue } from './kv.ts';
import { KvCalls, type KvResult } from './kv-calls.ts';
import {
  ADDRESS_LENGTH,
  LOG_FIELDS_LENGTH,
  LOG_MESSAGE_LENGTH,
  type ScriptLimits,
  VERDICT_TEXT_BYTES,
} from './limits.ts';
import { metricFunctions } from './metrics/metric-functions.ts';
import type { ScriptMetrics } from './metrics/script-metrics.ts';
import type { Sets } from './sets/sets.ts';

/** Offsets in bytes of the page. All uint32, but FLOW, a float64. The same as in guest/page.js. */
const PageField = {
  FLOW: 0,
  CALL: 8,
  PROTOCOL: 12,
  FAMILY: 16,
  SOURCE_PORT: 20,
  DESTINATION_PORT: 24,
  MSS: 28,
  WINDOW_SCALE: 32,
  TTL: 36,
  ECN: 40,
  REPLY: 44,
} as const;
const PAGE_BYTES = 64;

/** How a call went. The text that belongs to it is in brackets. The same as in guest/page.js. */
export const Reply = {
  DECLINE: 1,
  /** To the original destination, with no options. */
  FORWARD: 2,
  /** With no options. */
  REJECT: 3,
  /** Any other verdict [its fields as JSON]. */
  VERDICT: 4,
  /** A promise: `settle` will be called. */
  PENDING: 5,
  /** [the error; from the second line its stack] */
  THREW: 6,
  /** [what came back instead] */
  NO_VERDICT: 7,
  /** A hook that gives no verdict is over [what it handed over]. */
  DONE: 8,
} as const;
export type Reply = (typeof Reply)[keyof typeof Reply];

/** UTF-16 units at which the guest cuts what it hands out: no more of it is used here. */
const LENGTHS = {
  // One more than is shown: the cut can be told.
  message: LOG_MESSAGE_LENGTH + 1,
  fields: LOG_FIELDS_LENGTH + 1,
  // A unit is a byte at least.
  verdictText: VERDICT_TEXT_BYTES,
  address: ADDRESS_LENGTH,
};

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];
/** In the page: positions in PROTOCOLS of guest/flow-info.js. */
const PROTOCOL_CODES = { tcp: 0, udp: 1, icmp: 2 } as const satisfies Record<FlowProtocol, number>;

/** What the guest asks for while a turn runs. None of it may enter the engine again. */
export interface GuestPorts {
  log(level: LogLevel, flow: number, message: string, fields: string | undefined): void;
  settle(call: number, reply: Reply, text: string): void;
  /** False when the script has as many timers as it may have. */
  startTimer(id: number, delayMs: number): boolean;
  stopTimer(id: number): void;
  /** A promise of a hook was settled; `error` is '' when it was fulfilled. */
  hookDone(call: number, error: string): void;
  /** False when as many promises are waited for as may be. */
  startWait(id: number): boolean;
  /** As `hookDone`, of a promise that was given to `waitUntil`. */
  endWait(id: number, error: string): void;
  /** The script hit a limit that fails nothing but the operation. */
  hit(limit: string): void;
}

export interface GuestSettings {
  readonly version: string;
  readonly iface: string;
  readonly vars: Readonly<Record<string, string>>;
  readonly services: readonly string[];
  readonly limits: ScriptLimits;
  readonly sets: Sets;
  readonly metrics: ScriptMetrics;
}

/** What `decide` wrote; overwritten by the next call. */
export interface DecideResult {
  reply: Reply;
  text: string;
}

const ENTRIES = ['adopt', 'decide', 'abort', 'retire', 'fire', 'hook', 'closed', 'hooks'] as const;
type Entry = (typeof ENTRIES)[number];

/** An engine with the built-in module in it, and room for one script. */
export class Guest {
  /** Result of the last `decide`; one object, because a decision is answered before the next. */
  readonly result: DecideResult = { reply: Reply.DECLINE, text: '' };
  readonly #engine: Engine;
  readonly #kv: KvCalls;
  readonly #ports: GuestPorts;
  readonly #entries = new Map<Entry, QuickJSHandle>();
  readonly #page: SharedPage;
  #fault: Thrown | undefined;

  /** @throws Error when the built-in module does not run, which is a bug of ours */
  constructor(
    bare: BareEngine,
    settings: GuestSettings,
    kv: Kv,
    ports: GuestPorts,
    clock: EngineClock,
  ) {
    this.#engine = new Engine(bare, settings.limits, clock);
    this.#kv = new KvCalls(kv, () => ports.hit('kv'));
    this.#ports = ports;
    const { context } = this.#engine;
    this.#page = this.#engine.sharePage(PAGE_BYTES);
    const modules = new GuestModules();
    this.#engine.serveModules(modules);
    this.#engine.turn(Number.POSITIVE_INFINITY, () => {
      this.#installHost(settings);
      const result = context.evalCode(GUEST_START, GUEST_START_NAME, { type: 'module' });
      this.#engine.take(result, (thrown) => this.#blame(thrown))?.dispose();
    });
    modules.seal();
    if (this.#fault !== undefined || this.#entries.size === 0) {
      throw new Error(`the built-in module does not run: ${JSON.stringify(this.#fault)}`);
    }
  }

  get breakage(): Breakage | undefined {
    return this.#engine.breakage;
  }

  /**
   * Runs a module and takes its default export as the script.
   *
   * @returns undefined, or what it threw, or in words what is wrong with it; see also `breakage`
   */
  load(code: string, file: string, budgetUs: number): Thrown | string | undefined {
    const { context } = this.#engine;
    this.#fault = undefined;
    let problem: string | undefined;
    let module: QuickJSHandle | undefined;
    this.#engine.turn(budgetUs, () => {
      const result = context.evalCode(code, file, { type: 'module' });
      module = this.#engine.take(result, (thrown) => this.#blame(thrown));
    });
    if (this.#fault !== undefined || module === undefined) return this.#fault;
    this.#engine.turn(budgetUs, () => {
      problem = this.#adopt(module as QuickJSHandle);
    });
    return this.#fault ?? problem;
  }

  /** Asks the script; how it went is in `result`, unless the engine broke. */
  decide(call: number, request: ConnectionRequest, budgetUs: number): void {
    this.#engine.turn(budgetUs, () => {
      const { context } = this.#engine;
      this.#writeRequest(call, request);
      const source = context.newString(request.source.ip);
      const destination = context.newString(request.destination.ip);
      const returned = this.#call('decide', source, destination);
      source.dispose();
      destination.dispose();
      this.#readResult(returned);
    });
  }

  /** Has the flow's signal fire; the call will not settle any more. */
  abort(call: number, why: string, budgetUs: number): void {
    this.#engine.turn(budgetUs, () => {
      const { context } = this.#engine;
      const id = context.newNumber(call);
      const reason = context.newString(why);
      this.#call('abort', id, reason)?.dispose();
      id.dispose();
      reason.dispose();
    });
  }

  /** Has the script's own signal fire. */
  retire(budgetUs: number): void {
    this.#engine.turn(budgetUs, () => this.#call('retire')?.dispose());
  }

  /** The hooks that the script has, by their names. */
  hooks(budgetUs: number): readonly string[] {
    const names = this.#engine.turn(budgetUs, () => {
      const returned = this.#call('hooks');
      return returned === undefined ? '' : this.#textOf(returned);
    });
    return names === undefined || names === '' ? [] : names.split(',');
  }

  /**
   * Calls a hook that gives no verdict; how it went is in `result`, unless the engine broke.
   *
   * @param argument  its first argument as JSON; '' for none
   */
  hook(call: number, name: string, argument: string, budgetUs: number): void {
    this.#engine.turn(budgetUs, () => {
      const { context } = this.#engine;
      this.#page.view.setUint32(PageField.CALL, call, true);
      const hook = context.newString(name);
      const json = context.newString(argument);
      const returned = this.#call('hook', hook, json);
      hook.dispose();
      json.dispose();
      this.#readResult(returned);
    });
  }

  /** Tells of the end of a flow, as `hook` does. @param result  as JSON */
  closed(call: number, flow: ConnectionRequest, result: string, budgetUs: number): void {
    this.#engine.turn(budgetUs, () => {
      const { context } = this.#engine;
      this.#writeRequest(call, flow);
      const source = context.newString(flow.source.ip);
      const destination = context.newString(flow.destination.ip);
      const json = context.newString(result);
      const returned = this.#call('closed', source, destination, json);
      for (const handle of [source, destination, json]) handle.dispose();
      this.#readResult(returned);
    });
  }

  /** Runs the callback of a timer. Returns what it threw: first line, then the stack. */
  fire(id: number, budgetUs: number): string | undefined {
    return this.#engine.turn(budgetUs, () => {
      const { context } = this.#engine;
      const number = context.newNumber(id);
      const returned = this.#call('fire', number);
      number.dispose();
      const thrown = returned === undefined ? undefined : this.#textOf(returned);
      return thrown === '' ? undefined : thrown;
    });
  }

  #adopt(module: QuickJSHandle): string | undefined {
    const { context } = this.#engine;
    // With a top-level await the module is a promise, else its namespace.
    const state = context.getPromiseState(module);
    if (state.type === 'pending') {
      return 'the script waits at its top level for a promise that does not settle';
    }
    if (state.type === 'rejected') {
      this.#engine.takeError(state.error, (thrown) => this.#blame(thrown));
      return undefined;
    }
    const exported = context.getProp(state.value, 'default');
    const returned = this.#call('adopt', exported);
    exported.dispose();
    if (!state.notAPromise) state.value.dispose();
    module.dispose();
    const problem = returned === undefined ? '' : this.#textOf(returned);
    return problem === '' ? undefined : problem;
  }

  /** Calls an entry of the guest; the caller disposes of the arguments and of the result. */
  #call(entry: Entry, ...args: QuickJSHandle[]): QuickJSHandle | undefined {
    const { context } = this.#engine;
    const target = this.#entries.get(entry);
    if (target === undefined) throw new Error(`the built-in module has no entry ${entry}`);
    const result = context.callFunction(target, context.undefined, ...args);
    return this.#engine.take(result, (thrown) => this.#blame(thrown));
  }

  #writeRequest(call: number, request: ConnectionRequest): void {
    const page = this.#page.view;
    const { source, destination, syn } = request;
    page.setFloat64(PageField.FLOW, request.flow, true);
    page.setUint32(PageField.CALL, call, true);
    page.setUint32(PageField.PROTOCOL, PROTOCOL_CODES[request.protocol], true);
    page.setUint32(PageField.FAMILY, source.family, true);
    page.setUint32(PageField.SOURCE_PORT, source.port, true);
    page.setUint32(PageField.DESTINATION_PORT, destination.port, true);
    page.setUint32(PageField.REPLY, 0, true);
    if (syn === undefined) return;
    page.setUint32(PageField.MSS, syn.mss, true);
    page.setUint32(PageField.WINDOW_SCALE, syn.windowScale, true);
    page.setUint32(PageField.TTL, syn.ttl, true);
    page.setUint32(PageField.ECN, syn.ecn ? 1 : 0, true);
  }

  #readResult(returned: QuickJSHandle | undefined): void {
    if (returned === undefined) {
      // The guest catches what a script throws, unless there is no room left to do so.
      this.result.reply = Reply.THREW;
      this.result.text = this.#fault === undefined ? '' : describeThrown(this.#fault);
      this.#fault = undefined;
      return;
    }
    this.result.reply = this.#page.view.getUint32(PageField.REPLY, true) as Reply;
    this.result.text = hasText(this.result.reply) ? this.#engine.context.getString(returned) : '';
    returned.dispose();
  }

  #textOf(handle: QuickJSHandle): string {
    const { context } = this.#engine;
    const text = context.typeof(handle) === 'string' ? context.getString(handle) : '';
    handle.dispose();
    return text;
  }

  #blame(thrown: Thrown): void {
    this.#fault = thrown;
  }

  /** Puts `culvertHost` where guest/host.js finds it, and takes it away. */
  #installHost(guestSettings: GuestSettings): void {
    const { limits, version, iface, vars, services, sets, metrics } = guestSettings;
    const { context } = this.#engine;
    const host = context.newObject();
    const plain = {
      ...{ version, iface, vars, services, limits },
      lengths: LENGTHS,
      congestions: CONGESTION_NAMES,
      sets: sets.names,
    };
    const settings = context.newString(JSON.stringify(plain));
    context.setProp(host, 'settings', settings);
    context.setProp(host, 'page', this.#page.handle);
    for (const [name, implementation] of Object.entries({
      ...this.#hostFunctions(context, sets),
      ...metricFunctions(context, metrics, Number(version), (limit) => this.#ports.hit(limit)),
    })) {
      using handle = context.newFunction(name, implementation);
      context.setProp(host, name, handle);
    }
    context.setProp(context.global, 'culvertHost', host);
    settings.dispose();
    host.dispose();
  }

  #hostFunctions(
    context: QuickJSContext,
    sets: Sets,
  ): Record<string, (...args: QuickJSHandle[]) => QuickJSHandle | undefined> {
    const text = (handle: QuickJSHandle | undefined) =>
      handle === undefined || context.typeof(handle) === 'undefined'
        ? undefined
        : context.getString(handle);
    const number = (handle: QuickJSHandle | undefined) =>
      handle === undefined ? 0 : context.getNumber(handle);
    return {
      connect: (entries) => {
        if (entries === undefined) return undefined;
        for (const name of ENTRIES) {
          this.#entries.set(name, context.getProp(entries, name));
        }
        return undefined;
      },
      log: (level, flow, message, fields) => {
        this.#ports.log(
          LOG_LEVELS[number(level)] ?? 'info',
          number(flow),
          text(message) ?? '',
          text(fields),
        );
        return undefined;
      },
      settle: (call, reply, body) => {
        this.#ports.settle(number(call), number(reply) as Reply, text(body) ?? '');
        return undefined;
      },
      hookDone: (call, error) => {
        this.#ports.hookDone(number(call), text(error) ?? '');
        return undefined;
      },
      startWait: (id) => (this.#ports.startWait(number(id)) ? context.true : context.false),
      endWait: (id, error) => {
        this.#ports.endWait(number(id), text(error) ?? '');
        return undefined;
      },
      startTimer: (id, delayMs) => {
        return this.#ports.startTimer(number(id), number(delayMs)) ? context.true : context.false;
      },
      stopTimer: (id) => {
        this.#ports.stopTimer(number(id));
        return undefined;
      },
      hit: (limit) => {
        this.#ports.hit(text(limit) ?? '');
        return undefined;
      },
      hasInSet: (set, value) =>
        sets.has(number(set), text(value) ?? '') ? context.true : context.false,
      kv: (operation, key, value, a, b) => {
        const [x, y, z] = [value, a, b].map((handle) => readKvValue(context, handle));
        return this.#kvHandle(
          context,
          this.#kv.run(text(operation) ?? '', text(key) ?? '', x, y, z),
        );
      },
    };
  }

  #kvHandle(context: QuickJSContext, value: KvResult): QuickJSHandle {
    if (typeof value === 'string') return context.newString(value);
    if (typeof value === 'number') return context.newNumber(value);
    if (value === undefined) return context.undefined;
    if (value === null) return context.null;
    return value ? context.true : context.false;
  }
}

const hasText = (reply: Reply): boolean =>
  reply === Reply.VERDICT ||
  reply === Reply.THREW ||
  reply === Reply.NO_VERDICT ||
  reply === Reply.DONE;

/** In the form in which guest/show.js describes an error. */
const describeThrown = ({ name, message, stack }: Thrown): string =>
  `${name}: ${message}\n${stack}`;

function readKvValue(
  context: QuickJSContext,
  handle: QuickJSHandle | undefined,
): KvValue | undefined {
  if (handle === undefined) return undefined;
  const type = context.typeof(handle);
  if (type === 'string') return context.getString(handle);
  return type === 'number' ? context.getNumber(handle) : undefined;
}
