/** The sandbox behind a prompt: the globals of a script, and a bundle that can be asked. */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { ScriptBundle } from '../bundle/bundle.ts';
import { makeBareEngine } from '../engine/bare-engine.ts';
import replModule from '../guest/repl.js' with { type: 'text' };
import { type HostFunctions, readText } from '../host-functions/arguments.ts';
import { Kv } from '../kv/kv.ts';
import { ScriptMetrics } from '../metrics/script-metrics.ts';
import { Guest } from '../script/guest.ts';
import { Sets } from '../sets/sets.ts';
import { parseFlow, RunError } from './parse-run.ts';
import { Replay } from './replay.ts';
import { toolPorts } from './tool-ports.ts';
import { realClock } from './virtual-clock.ts';

/** As a file is called in errors of lines. */
const REPL_FILE = 'repl';
/** Microseconds of processor time for a line. */
const LINE_US = 2_000_000;
const US_PER_MS = 1000;

/**
 * `JS_EVAL_FLAG_ASYNC` of quickjs.h: the line may await, and its value is `{ value }` in a promise.
 * What it declares is global all the same.
 */
const EVAL_ASYNC = 1 << 7;

/** What a line came to, as text: a value, or an error with its stack. */
export interface Shown {
  readonly isValue: boolean;
  readonly text: string;
}

export class ReplSandbox {
  readonly #guest: Guest;
  readonly #replay: Replay;
  readonly #entries = new Map<string, QuickJSHandle>();
  readonly #asks: { readonly call: number; readonly flow: string }[] = [];
  /** Deadlines in microseconds by the id of the timer. */
  readonly #timers = new Map<number, number>();
  #shown: Shown | undefined;

  /** @throws BundleLoadError */
  static async make(bundle: ScriptBundle, print: (line: string) => void): Promise<ReplSandbox> {
    const replay = await Replay.load(bundle, Date.now());
    return new ReplSandbox(bundle, replay, await makeBareEngine(), print);
  }

  private constructor(
    { limits, vars, iface, sets: files = {} }: ScriptBundle,
    replay: Replay,
    bare: Awaited<ReturnType<typeof makeBareEngine>>,
    print: (line: string) => void,
  ) {
    this.#replay = replay;
    const metrics = new ScriptMetrics(REPL_FILE, limits, new Map());
    const facts = { version: '0', iface, vars, services: [], limits };
    const modules = new Map([['culvert:repl', replModule]]);
    this.#guest = new Guest(
      bare,
      { ...facts, sets: new Sets(files), metrics },
      new Kv(REPL_FILE, limits, Date.now),
      toolPorts({
        timers: this.#timers,
        timersMax: limits.timers,
        now: () => realClock.now(),
        print,
      }),
      realClock,
      { modules, functions: (context) => this.#functions(context) },
    );
  }

  /** Runs a line of JavaScript, and waits for what it came to. */
  async evaluate(code: string): Promise<Shown> {
    this.#shown = undefined;
    this.#call('evaluate', [code]);
    for (;;) {
      const { breakage } = this.#guest;
      if (breakage !== undefined) return { isValue: false, text: `the sandbox broke: ${breakage}` };
      if (this.#shown !== undefined) return this.#shown;
      const ask = this.#asks.shift();
      if (ask !== undefined) await this.#decide(ask.call, ask.flow);
      else if (this.#timers.size === 0) return { isValue: true, text: 'Promise (pending)' };
      else await this.#fireNext();
    }
  }

  get isBroken(): boolean {
    return this.#guest.breakage !== undefined;
  }

  async #decide(call: number, flow: string): Promise<void> {
    try {
      const fields = JSON.parse(flow) as Readonly<Record<string, unknown>> | null;
      const { verdict, text, script, cpuUs } = await this.#replay.decide(parseFlow(fields ?? {}));
      this.#call('settle', [call, true, JSON.stringify({ verdict, text, script, cpuUs })]);
    } catch (error) {
      if (!(error instanceof RunError)) throw error;
      this.#call('settle', [call, false, error.message]);
    }
  }

  async #fireNext(): Promise<void> {
    const [id, deadline] = [...this.#timers].reduce((a, b) => (b[1] < a[1] ? b : a));
    await Bun.sleep(Math.max(0, deadline - realClock.now()) / US_PER_MS);
    this.#timers.delete(id);
    const thrown = this.#guest.fire(id, LINE_US);
    if (thrown !== undefined) this.#shown = { isValue: false, text: thrown };
  }

  #call(entry: string, args: readonly (string | number | boolean)[]): void {
    const target = this.#entries.get(entry);
    if (target === undefined) throw new Error(`culvert:repl has no entry ${entry}`);
    this.#guest.callText(target, args, LINE_US);
  }

  #functions(context: QuickJSContext): HostFunctions {
    const text = (handle: QuickJSHandle | undefined) => readText(context, handle) ?? '';
    return {
      replConnect: (entries) => {
        if (entries === undefined) return undefined;
        for (const name of ['evaluate', 'settle']) {
          this.#entries.set(name, context.getProp(entries, name));
        }
        return undefined;
      },
      // The one function here that enters the engine: a line is a script of its own, in this turn.
      replEval: (code) => {
        const result = context.evalCode(text(code), REPL_FILE, EVAL_ASYNC);
        if (result.error !== undefined) throw result.error;
        return result.value;
      },
      replDecide: (call, flow) => {
        this.#asks.push({
          call: call === undefined ? 0 : context.getNumber(call),
          flow: text(flow),
        });
        return undefined;
      },
      replShown: (isValue, shown) => {
        this.#shown = {
          isValue: isValue !== undefined && context.dump(isValue) === true,
          text: text(shown),
        };
        return undefined;
      },
    };
  }
}
