/**
 * The outer half of the script API; guest/ is the inner half. Calls go in as two strings and a
 * page of memory that both sides read, because each value that crosses costs a microsecond.
 */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import { CONGESTION_NAMES, type ConnectionRequest } from '../../stack/verdict.ts';
import { connFunctions, type GuestConnPorts, GuestConns } from '../conns/guest-conns.ts';
import {
  type BareEngine,
  type Breakage,
  Engine,
  type EngineClock,
  type SharedPage,
  type Thrown,
} from '../engine/engine.ts';
import { type GuestExtension, NO_EXTENSION } from '../engine/guest-extension.ts';
import {
  GUEST_START_NAME,
  GuestModules,
  guestStart,
  modulesWantedBy,
} from '../engine/guest-modules.ts';
import { hasText, PAGE_BYTES, Reply } from '../engine/guest-page.ts';
import { CALL_AT, optionalText, REPLY_AT, writeRequest } from '../engine/request-page.ts';
import { type HostFunctions, readText } from '../host-functions/arguments.ts';
import { callFunctions, type GuestCallPorts } from '../host-functions/calls.ts';
import { type GuestHookPorts, hookFunctions } from '../host-functions/hooks.ts';
import { kvFunctions } from '../host-functions/kv.ts';
import { webFunctions } from '../host-functions/web.ts';
import type { Kv } from '../kv/kv.ts';
import { KvCalls } from '../kv/kv-calls.ts';
import type { ScriptLimits } from '../limits.ts';
import { metricFunctions } from '../metrics/metric-functions.ts';
import type { ScriptMetrics } from '../metrics/script-metrics.ts';
import type { Sets } from '../sets/sets.ts';
import { sniffFunctions } from '../sniff/guest-functions.ts';
import type { SniffProtocol } from '../sniff/sniffed.ts';
import { GUEST_LENGTHS } from './guest-lengths.ts';

/** What the guest asks for while a turn runs. None of it may enter the engine again. */
export interface GuestPorts extends GuestCallPorts, GuestHookPorts {
  readonly conns: GuestConnPorts;
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

const ENTRIES = [
  ...(['adopt', 'decide', 'abort', 'retire', 'fire', 'connOpen', 'connEvent'] as const),
  ...(['hooks', 'hook'] as const),
];
type Entry = (typeof ENTRIES)[number];

/** An engine with the built-in module in it, and room for one script. */
export class Guest {
  /** Result of the last `decide`; one object, because a decision is answered before the next. */
  readonly result: DecideResult = { reply: Reply.DECLINE, text: '' };
  readonly conns: GuestConns;
  /** What the script wants to know of UDP flows. */
  readonly sniffs: SniffProtocol[] = [];
  readonly #engine: Engine;
  readonly #kv: KvCalls;
  readonly #ports: GuestPorts;
  readonly #entries = new Map<Entry, QuickJSHandle>();
  readonly #page: SharedPage;
  readonly #modules: GuestModules;
  #fault: Thrown | undefined;

  /** @throws Error when the built-in module does not run, which is a bug of ours */
  constructor(
    bare: BareEngine,
    settings: GuestSettings,
    kv: Kv,
    ports: GuestPorts,
    clock: EngineClock,
    extension: GuestExtension = NO_EXTENSION,
  ) {
    this.#engine = new Engine(bare, settings.limits, clock);
    this.#kv = new KvCalls(kv, (limit) => ports.hit(limit));
    this.#ports = ports;
    const { context } = this.#engine;
    this.#page = this.#engine.sharePage(PAGE_BYTES);
    this.conns = new GuestConns(this.#engine, this.#page, (...call) => this.#call(...call));
    this.#modules = new GuestModules(extension.modules);
    this.#engine.serveModules(this.#modules);
    this.#engine.turn(Number.POSITIVE_INFINITY, () => {
      this.#installHost(settings, {
        ...this.#hostFunctions(context, settings.sets),
        ...webFunctions(context, () => clock.now()),
        ...hookFunctions(context, ports),
        ...metricFunctions(context, settings, (limit) => ports.hit(limit)),
        ...extension.functions(context),
      });
      const start = guestStart(extension.modules);
      const result = context.evalCode(start, GUEST_START_NAME, { type: 'module' });
      this.#engine.take(result, (thrown) => this.#blame(thrown))?.dispose();
    });
    this.#modules.seal();
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
    return this.#run(code, file, budgetUs, (namespace) => this.#adopt(namespace));
  }

  /** Runs a module that is no script, but belongs to an extension; as `load`. */
  run(code: string, file: string, budgetUs: number): Thrown | string | undefined {
    return this.#run(code, file, budgetUs, () => undefined);
  }

  /**
   * Calls a function that the guest gave to an extension, as one turn.
   *
   * @returns the text that it returned, if it did
   */
  callText(
    target: QuickJSHandle,
    args: readonly (string | number | boolean)[],
    budgetUs: number,
  ): string | undefined {
    return this.#engine.turn(budgetUs, () => {
      const { context } = this.#engine;
      const handles = args.map((value) => {
        if (typeof value === 'string') return context.newString(value);
        if (typeof value === 'number') return context.newNumber(value);
        return value ? context.true : context.false;
      });
      const result = context.callFunction(target, context.undefined, ...handles);
      for (const handle of handles) handle.dispose();
      const returned = this.#engine.take(result, (thrown) => this.#blame(thrown));
      return returned === undefined ? undefined : this.#textOf(returned);
    });
  }

  /** What a decision would otherwise have to load first. */
  #preload(code: string): void {
    this.#engine.turn(Number.POSITIVE_INFINITY, () => {
      for (const name of modulesWantedBy(code)) {
        const result = this.#openModule(name);
        this.#engine.take(result, (thrown) => this.#blame(thrown))?.dispose();
      }
    });
  }

  #openModule(name: string): ReturnType<QuickJSContext['evalCode']> {
    return this.#modules.open(name, (source, file) =>
      this.#engine.context.evalCode(source, file, { type: 'module' }),
    );
  }

  /** Asks the script; how it went is in `result`, unless the engine broke. */
  decide(call: number, request: ConnectionRequest, budgetUs: number): void {
    this.#engine.turn(budgetUs, () => {
      const { context } = this.#engine;
      writeRequest(this.#page.view, call, request);
      this.conns.setTurnOf(call);
      const source = context.newString(request.source.ip);
      const destination = context.newString(request.destination.ip);
      const name = optionalText(context, request.dnsName);
      const more = optionalText(context, request.sniffed);
      const returned = this.#call('decide', source, destination, name, more);
      source.dispose();
      destination.dispose();
      name.dispose();
      more.dispose();
      this.#readResult(returned);
    });
  }

  /** Has the flow's signal fire; the call will not settle any more. */
  abort(call: number, why: string, budgetUs: number): void {
    this.#engine.turn(budgetUs, () => {
      const { context } = this.#engine;
      this.conns.setTurnOf(call);
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
   * @param name      of the hook, or of an entry that needs `flow`
   * @param argument  what it is told as JSON; '' for nothing
   */
  hook(call: number, name: string, argument: string, budgetUs: number, flow?: ConnectionRequest) {
    this.#engine.turn(budgetUs, () => {
      this.#page.view.setUint32(CALL_AT, call, true);
      this.conns.setTurnOf(call);
      if (flow !== undefined) writeRequest(this.#page.view, call, flow);
      const { source, destination } = flow ?? {};
      const texts = [name, argument, source?.ip ?? '', destination?.ip ?? ''];
      const { context } = this.#engine;
      const handles = texts.map((text) => context.newString(text));
      handles.push(optionalText(context, flow?.dnsName));
      this.#readResult(this.#call('hook', ...handles));
      for (const handle of handles) handle.dispose();
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

  /** @param use  gets the namespace of the module, and tells in words what is wrong with it */
  #run(
    code: string,
    file: string,
    budgetUs: number,
    use: (namespace: QuickJSHandle) => string | undefined,
  ): Thrown | string | undefined {
    const { context } = this.#engine;
    this.#fault = undefined;
    let problem: string | undefined;
    let module: QuickJSHandle | undefined;
    this.#preload(code);
    this.#engine.turn(budgetUs, () => {
      const result = context.evalCode(code, file, { type: 'module' });
      module = this.#engine.take(result, (thrown) => this.#blame(thrown));
    });
    if (this.#fault !== undefined || module === undefined) return this.#fault;
    this.#engine.turn(budgetUs, () => {
      problem = this.#useNamespace(module as QuickJSHandle, use);
    });
    return this.#fault ?? problem;
  }

  #useNamespace(
    module: QuickJSHandle,
    use: (namespace: QuickJSHandle) => string | undefined,
  ): string | undefined {
    // With a top-level await the module is a promise, else its namespace.
    const state = this.#engine.context.getPromiseState(module);
    if (state.type === 'pending') {
      return 'the script waits at its top level for a promise that does not settle';
    }
    if (state.type === 'rejected') {
      this.#engine.takeError(state.error, (thrown) => this.#blame(thrown));
      return undefined;
    }
    const problem = use(state.value);
    if (!state.notAPromise) state.value.dispose();
    module.dispose();
    return problem;
  }

  #adopt(namespace: QuickJSHandle): string | undefined {
    const exported = this.#engine.context.getProp(namespace, 'default');
    const returned = this.#call('adopt', exported);
    exported.dispose();
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

  #readResult(returned: QuickJSHandle | undefined): void {
    if (returned === undefined) {
      // The guest catches what a script throws, unless there is no room left to do so.
      this.result.reply = Reply.THREW;
      this.result.text = this.#fault === undefined ? '' : describeThrown(this.#fault);
      this.#fault = undefined;
      return;
    }
    this.result.reply = this.#page.view.getUint32(REPLY_AT, true) as Reply;
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
  #installHost(
    { limits, version, iface, vars, services, sets }: GuestSettings,
    functions: HostFunctions,
  ): void {
    const { context } = this.#engine;
    const host = context.newObject();
    const plain = {
      ...{ version, iface, vars, services, limits },
      lengths: GUEST_LENGTHS,
      congestions: CONGESTION_NAMES,
      sets: sets.names,
    };
    const settings = context.newString(JSON.stringify(plain));
    context.setProp(host, 'settings', settings);
    context.setProp(host, 'page', this.#page.handle);
    for (const [name, implementation] of Object.entries(functions)) {
      using handle = context.newFunction(name, this.#engine.charged(implementation));
      context.setProp(host, name, handle);
    }
    context.setProp(context.global, 'culvertHost', host);
    settings.dispose();
    host.dispose();
  }

  #hostFunctions(context: QuickJSContext, sets: Sets): HostFunctions {
    return {
      ...sniffFunctions(context, this.sniffs),
      ...kvFunctions(context, this.#kv),
      ...connFunctions(context, this.#page, this.#ports.conns),
      ...callFunctions(context, this.#ports, sets),
      connect: (entries) => {
        if (entries === undefined) return undefined;
        for (const name of ENTRIES) {
          this.#entries.set(name, context.getProp(entries, name));
        }
        return undefined;
      },
      module: (name) => {
        const result = this.#openModule(readText(context, name) ?? '');
        // What it throws goes to whoever used it first.
        if (result.error !== undefined) throw result.error;
        return result.value;
      },
    };
  }
}

/** In the form in which guest/show.js describes an error. */
const describeThrown = ({ name, message, stack }: Thrown): string =>
  `${name}: ${message}\n${stack}`;
