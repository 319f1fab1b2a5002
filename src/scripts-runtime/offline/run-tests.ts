/**
 * Runs the tests of a bundle: files `NAME.test.ts` beside a script. Each file has a sandbox of its
 * own, each test a gateway of its own (TestWorld), and no test waits in real time.
 *
 * Nothing of a bundle is believed here: it may come over the API, tests and all.
 */
import { posix } from 'node:path';
import type { ScriptBundle, ScriptLog, ScriptSource } from '../bundle/bundle.ts';
import { Diagnostics } from '../bundle/diagnostics.ts';
import { type Externals, transpile } from '../bundle/transpile.ts';
import { makeBareEngine } from '../engine/bare-engine.ts';
import { CoverageCounters, type CoverageSums } from './coverage-counters.ts';
import { parseHook, parseRun, RunError } from './parse-run.ts';
import type { TestFailure, TestFileReport, TestReport, TestResult } from './report.ts';
import { SCRIPT_MODULE_PREFIX, TEST_MODULE, type TestAsk, TestSandbox } from './test-sandbox.ts';
import { TestWorld } from './test-world.ts';
import { realClock } from './virtual-clock.ts';

export interface TestOptions {
  /** Only tests whose names, joined by spaces, have this in them. */
  readonly filter?: string;
  /** Real time for one test, in milliseconds. */
  readonly testMs?: number;
  /** Scripts are instrumented, and what they count is part of the report. */
  readonly isCovered?: boolean;
  /** Called before a file is loaded, with no path, and before each of its tests. */
  readonly onStart?: (file: string, path: readonly string[]) => void;
}

const TEST_MS_DEFAULT = 5_000;
const TESTS_MAX = 10_000;
const OUTPUT_LINES_MAX = 1_000;
/** Lines of scripts that are told of a test that failed: the last ones. */
const LOGS_MAX = 100;
const TEST_FILE = /\.test\.[cm]?[jt]s$/;

/** Runs all tests of all scripts. What does not load or run is a failure of the report. */
export async function runScriptTests(
  bundle: ScriptBundle,
  options: TestOptions = {},
): Promise<TestReport> {
  const files: TestFileReport[] = [];
  const sums: CoverageSums | undefined = options.isCovered ? new Map() : undefined;
  for (const script of bundle.scripts) {
    for (const path of Object.keys(script.tests ?? {})) {
      if (!TEST_FILE.test(path)) continue;
      files.push(await new TestFile(bundle, script, path, options, sums).run());
    }
  }
  const count = (outcome: TestResult['outcome']) =>
    files.flatMap(({ tests }) => tests).filter((test) => test.outcome === outcome).length;
  const failed = count('failed') + files.filter(({ failure }) => failure !== undefined).length;
  const [passed, skipped] = [count('passed'), count('skipped')];
  const report = { ok: failed === 0, passed, failed, skipped, files };
  return sums === undefined ? report : { ...report, coverage: Object.fromEntries(sums) };
}

class TestFile {
  readonly #bundle: ScriptBundle;
  readonly #script: ScriptSource;
  readonly #source: ScriptSource;
  readonly #options: TestOptions;
  readonly #output: string[] = [];
  readonly #sums: CoverageSums | undefined;
  #world: TestWorld;

  constructor(
    bundle: ScriptBundle,
    script: ScriptSource,
    path: string,
    options: TestOptions,
    sums: CoverageSums | undefined,
  ) {
    const tests = script.tests ?? {};
    this.#bundle = bundle;
    this.#script = script;
    this.#options = options;
    this.#sums = sums;
    this.#world = new TestWorld(bundle);
    this.#source = {
      name: script.name,
      file: posix.join(posix.dirname(script.file), path),
      source: tests[path] ?? '',
      modules: { ...script.modules, ...tests },
      ...(script.originals && { originals: script.originals }),
    };
  }

  async run(): Promise<TestFileReport> {
    const { file } = this.#source;
    const report = { script: this.#script.name, file, output: this.#output };
    this.#options.onStart?.(file, []);
    const code = await transpile(this.#source, this.#externals());
    if (!('code' in code)) {
      const [issue] = code;
      const { line = 0, column = 0, message = 'cannot be translated' } = issue ?? {};
      return { ...report, tests: [], failure: { message, position: { file, line, column } } };
    }
    const diagnostics = new Diagnostics(this.#source, code);
    // A test may call what it imports of the script by itself.
    const counters = this.#makeCounters();
    const sandbox = new TestSandbox(await makeBareEngine(), {
      ...(counters && { extension: counters.extension }),
      clock: realClock,
      scripts: this.#bundle.scripts.map(({ name }) => name),
      now: () => this.#world.now,
      print: (line) => {
        if (this.#output.length < OUTPUT_LINES_MAX) this.#output.push(line);
      },
    });
    const problem = sandbox.load(code.code, file);
    const failure = loadFailure(sandbox, problem, diagnostics);
    if (failure !== undefined) return { ...report, tests: [], failure };
    const tests = await this.#runAll(sandbox, diagnostics);
    counters?.collect();
    return { ...report, tests };
  }

  #makeCounters(): CoverageCounters | undefined {
    return this.#sums && new CoverageCounters(this.#sums);
  }

  /** A test imports the scripts of its folder as what `run` takes. */
  #externals(): Externals {
    const folder = posix.dirname(this.#script.file);
    const scripts = new Map(
      this.#bundle.scripts.flatMap(({ name, file }) => {
        const path = `./${posix.relative(folder, file)}`;
        const served = SCRIPT_MODULE_PREFIX + name;
        return [path, path.replace(/\.[cm]?[jt]s$/, '')].map((one) => [one, served] as const);
      }),
    );
    return (path) => (path === TEST_MODULE ? path : scripts.get(path));
  }

  async #runAll(sandbox: TestSandbox, diagnostics: Diagnostics): Promise<readonly TestResult[]> {
    const listed = sandbox.list().slice(0, TESTS_MAX);
    const { filter } = this.#options;
    const haveOnly = listed.some(({ mode }) => mode === 'only');
    const results: TestResult[] = [];
    for (const [index, { path, mode }] of listed.entries()) {
      const isWanted =
        mode !== 'skip' &&
        (!haveOnly || mode === 'only') &&
        (filter === undefined || path.join(' ').includes(filter));
      if (!isWanted) {
        results.push({ path, outcome: 'skipped', tookMs: 0 });
        continue;
      }
      this.#options.onStart?.(this.#source.file, path);
      const counters = this.#makeCounters();
      this.#world = new TestWorld(this.#bundle, counters);
      const startedAt = performance.now();
      const failure = await this.#runOne(sandbox, index, diagnostics);
      const tookMs = performance.now() - startedAt;
      counters?.collect();
      results.push(
        failure === undefined
          ? { path, outcome: 'passed', tookMs }
          : { path, outcome: 'failed', tookMs, failure, ...tellLogs(this.#world.logs) },
      );
    }
    return results;
  }

  async #runOne(
    sandbox: TestSandbox,
    index: number,
    diagnostics: Diagnostics,
  ): Promise<TestFailure | undefined> {
    if (sandbox.breakage !== undefined) {
      return { message: 'a test before this one broke the sandbox of the file' };
    }
    const testMs = this.#options.testMs ?? TEST_MS_DEFAULT;
    const endsAt = performance.now() + testMs;
    sandbox.begin(index, this.#world.epochMs);
    for (;;) {
      const { breakage } = sandbox;
      if (breakage !== undefined) return { message: breakageText(breakage) };
      const ending = sandbox.takeEnding();
      if (ending !== undefined) {
        return ending.error === undefined ? undefined : failureOf(ending.error, diagnostics);
      }
      if (performance.now() >= endsAt) return { message: `took longer than ${testMs} ms` };
      const ask = sandbox.takeAsk();
      if (ask !== undefined) await this.#answer(sandbox, ask);
      else if (sandbox.nextTimer === Number.POSITIVE_INFINITY) {
        return { message: 'it waits for a promise that nothing settles' };
      } else {
        this.#world.advance(Math.max(0, sandbox.nextTimer - this.#world.now) / 1000);
        const thrown = sandbox.fireTimers(this.#world.now);
        if (thrown !== undefined) return failureOf(thrown, diagnostics);
      }
    }
  }

  async #answer(sandbox: TestSandbox, { call, operation, argument }: TestAsk): Promise<void> {
    try {
      const result = await this.#carryOut(operation, JSON.parse(argument));
      sandbox.settle(call, true, JSON.stringify(result));
    } catch (error) {
      if (!(error instanceof RunError)) throw error;
      sandbox.settle(call, false, error.message);
    }
  }

  async #carryOut(operation: string, argument: unknown): Promise<unknown> {
    if (operation === 'run') return this.#world.run(parseRun(argument));
    const hook = HOOKS.find((name) => name === operation);
    if (hook !== undefined) return this.#world.callHook(parseHook(hook, argument));
    const ms = Number((argument as { readonly ms?: unknown } | null)?.ms);
    if (!(ms >= 0 && ms <= ADVANCE_MS_MAX)) throw new RunError(`clock.advance: ${ms} is no time`);
    this.#world.advance(ms);
    return this.#world.epochMs;
  }
}

/** The last ones, and how many there were before them. */
function tellLogs(all: readonly ScriptLog[]): Pick<TestResult, 'logs' | 'logsLeft'> {
  if (all.length === 0) return {};
  const logs = all.slice(-LOGS_MAX).map(({ level, script, message, fields }) => ({
    ...{ level, script, message },
    ...(fields && { fields }),
  }));
  const logsLeft = all.length - logs.length;
  return logsLeft === 0 ? { logs } : { logs, logsLeft };
}

/** Hooks that a test can call. */
const HOOKS = ['load', 'scheduled', 'closed'] as const;

/** A year. */
const ADVANCE_MS_MAX = 366 * 86_400_000;

function loadFailure(
  sandbox: TestSandbox,
  problem: ReturnType<TestSandbox['load']>,
  diagnostics: Diagnostics,
): TestFailure | undefined {
  if (sandbox.breakage !== undefined) return { message: breakageText(sandbox.breakage) };
  if (problem === undefined) return undefined;
  if (typeof problem === 'string') return { message: problem };
  const { message, file, line, column } = diagnostics.issueOf(problem);
  return line === 0 ? { message } : { message, position: { file, line, column } };
}

function failureOf(description: string, diagnostics: Diagnostics): TestFailure {
  const { position, message } = diagnostics.errorOf(description);
  return position === undefined ? { message } : { message, position };
}

const breakageText = (breakage: string): string =>
  `the test file broke its sandbox: ${breakage} (between two awaits it has 2 s and 128 MiB)`;
