/**
 * The sandbox in which a test file runs. It has the globals of a script and the module
 * `culvert:test`; the script under test is not in it, but in a sandbox of its own.
 */
import type { QuickJSContext, QuickJSHandle } from 'quickjs-emscripten-core';
import type { BareEngine, Breakage, EngineClock, Thrown } from '../engine/engine.ts';
import { type GuestExtension, joinExtensions, NO_EXTENSION } from '../engine/guest-extension.ts';
import equal from '../guest/equal.js' with { type: 'text' };
import expect from '../guest/expect.js' with { type: 'text' };
import testModule from '../guest/test.js' with { type: 'text' };
import { type HostFunctions, readText } from '../host-functions/arguments.ts';
import { Kv } from '../kv/kv.ts';
import { DEFAULT_SCRIPT_LIMITS, type ScriptLimits } from '../limits.ts';
import { ScriptMetrics } from '../metrics/script-metrics.ts';
import { Guest } from '../script/guest.ts';
import { Sets } from '../sets/sets.ts';
import { makeFixture } from './make-fixture.ts';
import { toolPorts } from './tool-ports.ts';

export const TEST_MODULE = 'culvert:test';
/** In front of the name of a script, the module that a test gets for it. */
export const SCRIPT_MODULE_PREFIX = 'culvert:script/';

const MIB = 1024 * 1024;
/** Whole tables of expectations fit, and an accident ends soon. */
const LIMITS: ScriptLimits = { ...DEFAULT_SCRIPT_LIMITS, memoryBytes: 128 * MIB };
/** Microseconds for what a test does between two `await`: far more than it needs. */
const TURN_US = 2_000_000;

/** A test of the file, before it runs. */
export interface ListedTest {
  readonly path: readonly string[];
  readonly mode: 'run' | 'skip' | 'only';
}

/** What a test asked of the runner, and waits for. */
export interface TestAsk {
  readonly call: number;
  readonly operation: string;
  readonly argument: string;
}

export interface SandboxOptions {
  readonly clock: EngineClock;
  /** Names of the scripts that the file may import. */
  readonly scripts: readonly string[];
  /** Microseconds of the clock that its timers are on. */
  readonly now: () => number;
  readonly print: (line: string) => void;
  readonly extension?: GuestExtension;
}

export class TestSandbox {
  readonly #guest: Guest;
  readonly #entries = new Map<string, QuickJSHandle>();
  readonly #asks: TestAsk[] = [];
  /** Deadlines in microseconds by the id of the timer. */
  readonly #timers = new Map<number, number>();
  /** How the test that runs has ended; null while it runs. */
  #ending: { readonly error: string | undefined } | undefined;

  constructor(bare: BareEngine, options: SandboxOptions) {
    const { clock, scripts, now, print, extension = NO_EXTENSION } = options;
    const sets = new Sets({});
    const metrics = new ScriptMetrics('test', LIMITS, new Map());
    const facts = { version: '0', iface: '', vars: {}, services: [], limits: LIMITS };
    const settings = { ...facts, sets, metrics };
    const modules = new Map([
      ['culvert/equal.js', equal],
      ['culvert/expect.js', expect],
      [TEST_MODULE, testModule],
      ...scripts.map((name): [string, string] => [SCRIPT_MODULE_PREFIX + name, scriptModule(name)]),
    ]);
    this.#guest = new Guest(
      bare,
      settings,
      new Kv('test', LIMITS, () => 0),
      toolPorts({ timers: this.#timers, timersMax: LIMITS.timers, now, print }),
      clock,
      joinExtensions({ modules, functions: (context) => this.#functions(context) }, extension),
    );
  }

  get breakage(): Breakage | undefined {
    return this.#guest.breakage;
  }

  /** The deadline of the next timer; Infinity for none. */
  get nextTimer(): number {
    return Math.min(...this.#timers.values());
  }

  /** Runs the file, which lists its tests. As `Guest.load`. */
  load(code: string, file: string): Thrown | string | undefined {
    return this.#guest.run(code, file, TURN_US);
  }

  list(): readonly ListedTest[] {
    const text = this.#call('list', []);
    return text === undefined ? [] : (JSON.parse(text) as ListedTest[]);
  }

  begin(index: number, epochMs: number): void {
    this.#ending = undefined;
    this.#asks.length = 0;
    this.#timers.clear();
    this.#call('begin', [index, epochMs]);
  }

  settle(call: number, isDone: boolean, body: string): void {
    this.#call('settle', [call, isDone, body]);
  }

  /** The oldest question that nobody has taken. */
  takeAsk(): TestAsk | undefined {
    return this.#asks.shift();
  }

  /** How the test has ended: what it threw is described as the guest does. */
  takeEnding(): { readonly error: string | undefined } | undefined {
    const ending = this.#ending;
    this.#ending = undefined;
    return ending;
  }

  /** Runs the timers that are due. Returns what one of them threw. */
  fireTimers(now: number): string | undefined {
    for (const [id, deadline] of this.#timers) {
      if (deadline > now || !this.#timers.delete(id)) continue;
      const thrown = this.#guest.fire(id, TURN_US);
      if (thrown !== undefined) return thrown;
    }
    return undefined;
  }

  #call(entry: string, args: readonly (string | number | boolean)[]): string | undefined {
    const target = this.#entries.get(entry);
    if (target === undefined) throw new Error(`${TEST_MODULE} has no entry ${entry}`);
    return this.#guest.callText(target, args, TURN_US);
  }

  #functions(context: QuickJSContext): HostFunctions {
    const text = (handle: QuickJSHandle | undefined) => readText(context, handle);
    return {
      testConnect: (entries) => {
        if (entries === undefined) return undefined;
        for (const name of ['list', 'begin', 'settle']) {
          this.#entries.set(name, context.getProp(entries, name));
        }
        return undefined;
      },
      testAsk: (call, operation, argument) => {
        this.#asks.push({
          call: call === undefined ? 0 : context.getNumber(call),
          operation: text(operation) ?? '',
          argument: text(argument) ?? '',
        });
        return undefined;
      },
      testFixture: (name, args) =>
        context.newString(JSON.stringify(makeFixture(text(name) ?? '', text(args) ?? ''))),
      testEnded: (_index, error) => {
        this.#ending = { error: text(error) };
        return undefined;
      },
    };
  }
}

/** What a test imports for a script is a name: the script itself is elsewhere. */
const scriptModule = (name: string): string =>
  `export default Object.freeze({ culvertScript: ${JSON.stringify(name)} });`;
