/**
 * A bundle in a process of its own, which serves nobody: it says what it would decide about flows.
 * Nothing that it does can matter, and when it hangs it is ended.
 */
import { kvChunks } from '../../messages/kv-chunks.ts';
import type {
  AskedVerdict,
  FromScriptHost,
  KvEntry,
  RecordedFlow,
  ScriptBundle,
  ScriptIssue,
  ToScriptHost,
} from '../../messages/script-control.ts';
import { Child, selfCommand } from '../child.ts';
import { parseFromScriptHost } from '../child-messages.ts';
import { processCpuMs } from '../watchdog.ts';
import { bundleIssue, ScriptHostError } from './change-errors.ts';
import type { Generation } from './generation.ts';
import { toBundle } from './script-bundle.ts';
import {
  describeExit,
  frameFault,
  loadTimeMs,
  nonEmpty,
  START_ALLOWANCE_MS,
} from './script-load.ts';

/** A batch of some hundred flows takes milliseconds; a script that hangs, for ever. */
const ASK_MS = 10_000;

/** All tests of a bundle together: who asked for the change waits for them. */
const TEST_MS = 60_000;

export interface TestOutcome {
  readonly passed: number;
  readonly failures: readonly ScriptIssue[];
}

export interface AsideOptions {
  /** Name of the device, as scripts will see it. */
  readonly iface: string;
  /** What the scripts find in their KV. */
  readonly kv?: readonly KvEntry[] | undefined;
  /** Scripts that are not asked any more. */
  readonly disabled?: readonly string[];
  /** What `via` may name. */
  readonly upstreams?: ScriptBundle['upstreams'];
  /** What `redirect` may name. */
  readonly listeners?: ScriptBundle['listeners'];
  /** What becomes of flows whose decision fails; absent: they are rejected. */
  readonly onError?: ScriptBundle['onError'] | undefined;
  readonly command?: readonly string[] | undefined;
  /** How long one `ask` may take, in milliseconds. */
  readonly askMs?: number;
}

export class Aside {
  readonly #child: Child;
  readonly #generation: Generation;
  readonly #loaded = Promise.withResolvers<readonly ScriptIssue[]>();
  readonly #tested = Promise.withResolvers<TestOutcome>();
  readonly #asked = new Map<number, (verdicts: readonly AskedVerdict[] | undefined) => void>();
  readonly #askMs: number;
  #lastAsk = 0;
  #isOver = false;
  /** Why it gives no answers any more. */
  #end = 'it was closed';

  private constructor(generation: Generation, command: readonly string[], askMs: number) {
    this.#generation = generation;
    this.#askMs = askMs;
    this.#child = new Child(command, [], {
      onMessage: (raw) => this.#receive(parseFromScriptHost(raw)),
      onExit: (exit) => {
        const issue = bundleIssue(generation, 'load', describeExit(exit));
        this.#loaded.resolve([issue]);
        this.#tested.resolve({ passed: 0, failures: [{ ...issue, kind: 'test' }] });
        if (!this.#isOver) this.#end = `the process ended (${exit.signal ?? exit.code})`;
        this.close();
      },
    });
  }

  /**
   * Loads a bundle. What is wrong with it comes instead of the process; nothing wrong with no
   * scripts is neither.
   *
   * @throws ScriptHostError  when the machine did not get to it
   */
  static async load(
    generation: Generation,
    {
      iface,
      kv = [],
      disabled = [],
      upstreams,
      listeners,
      onError,
      askMs = ASK_MS,
      command = selfCommand('__script-check'),
    }: AsideOptions,
  ): Promise<Aside | readonly ScriptIssue[]> {
    if (generation.scripts.length === 0) return [];
    const facts = {
      ...(upstreams && { upstreams }),
      ...(listeners && { listeners }),
      ...(onError && { onError }),
    };
    const bundle = toBundle(generation, { iface, disabled, ...facts });
    const message: ToScriptHost = { kind: 'load', bundle, epoch: 0 };
    const tooLong = frameFault(message);
    if (tooLong !== undefined) return [bundleIssue(generation, 'limit', tooLong)];
    const aside = new Aside(generation, command, askMs);
    try {
      const issues = await aside.#load(message, kv);
      if (issues.length === 0) return aside;
      aside.close();
      return issues;
    } catch (error) {
      aside.close();
      throw error;
    }
  }

  /** Why `ask` gave no answer. */
  get end(): string {
    return this.#end;
  }

  /** What it would decide, in the order of the flows; undefined when it gives no answer. */
  async ask(
    flows: readonly RecordedFlow[],
    how: Pick<Extract<ToScriptHost, { kind: 'ask' }>, 'isExplained' | 'startMs'> = {},
  ): Promise<readonly AskedVerdict[] | undefined> {
    if (this.#isOver) return undefined;
    const id = ++this.#lastAsk;
    const { promise, resolve } = Promise.withResolvers<readonly AskedVerdict[] | undefined>();
    this.#asked.set(id, resolve);
    const timer = setTimeout(() => {
      this.#end = `no answer within ${this.#askMs} ms`;
      this.close();
    }, this.#askMs);
    this.#child.send({ kind: 'ask', id, flows, ...how } satisfies ToScriptHost);
    const verdicts = await promise;
    clearTimeout(timer);
    return verdicts?.length === flows.length ? verdicts : undefined;
  }

  /** Runs the scripts' own tests. What fails is an issue; so is a test that does not end. */
  async test(): Promise<TestOutcome> {
    const tooLong = bundleIssue(this.#generation, 'test', 'the tests did not end in time');
    this.#child.send({ kind: 'test' } satisfies ToScriptHost);
    const timer = setTimeout(() => {
      this.#tested.resolve({ passed: 0, failures: [tooLong] });
    }, TEST_MS);
    const outcome = await this.#tested.promise;
    clearTimeout(timer);
    return outcome;
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#child.kill();
    for (const settle of this.#asked.values()) settle(undefined);
    this.#asked.clear();
  }

  async #load(message: ToScriptHost, kv: readonly KvEntry[]): Promise<readonly ScriptIssue[]> {
    const generation = this.#generation;
    for (const entries of kvChunks(kv)) this.#child.send({ kind: 'kv-restore', entries });
    this.#child.send(message);
    const timeoutMs = loadTimeMs(generation);
    const timer = setTimeout(() => {
      const text = `did not load within ${timeoutMs} ms`;
      if (processCpuMs(this.#child.pid) >= timeoutMs) {
        this.#loaded.resolve([bundleIssue(generation, 'limit', text)]);
      } else {
        this.#loaded.reject(new ScriptHostError(`the scripts ${text}: the machine is overloaded`));
      }
    }, timeoutMs + START_ALLOWANCE_MS);
    try {
      return await this.#loaded.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  #receive(message: FromScriptHost): void {
    switch (message.kind) {
      case 'loaded':
        this.#loaded.resolve([]);
        break;
      case 'load-failed':
        this.#loaded.resolve(nonEmpty(message.issues, this.#generation));
        break;
      case 'tested':
        this.#tested.resolve(message);
        break;
      case 'asked':
        this.#asked.get(message.id)?.(message.verdicts);
        this.#asked.delete(message.id);
        break;
    }
  }
}
