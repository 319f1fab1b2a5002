/**
 * One process in which scripts run, and the watchdog over it. It starts empty and is given bundles;
 * who it was lost to is told once, and after that it says nothing more.
 */
import type { SharedMemory } from '../../../ffi/memory.ts';
import { kvChunks } from '../../messages/kv-chunks.ts';
import {
  type CanaryPlan,
  type FromScriptHost,
  HeartbeatField,
  type KvEntry,
  type ScriptIssue,
  type ScriptLimits,
  type ToScriptHost,
} from '../../messages/script-control.ts';
import { Child, type ChildExit } from '../child.ts';
import { parseFromScriptHost } from '../child-messages.ts';
import { processCpuMs, WATCHDOG_PERIOD_MS, Watchdog } from '../watchdog.ts';
import type { Generation } from './generation.ts';
import { type ConfigFacts, type HostFacts, toBundle } from './script-bundle.ts';
import { describeExit } from './script-load.ts';

/** Shared memory that HeartbeatField describes; one for each process that lives. */
export interface HeartbeatPage {
  readonly fd: number;
  readonly view: DataView;
}

export const pageOf = ({ fd, buffer }: SharedMemory): HeartbeatPage => ({
  fd,
  view: new DataView(buffer),
});

/** What became of a load. */
export type LoadOutcome =
  | { readonly kind: 'loaded' }
  | { readonly kind: 'refused'; readonly issues: readonly ScriptIssue[] }
  /** No answer in time: the process has other things to do, or the machine has. */
  | { readonly kind: 'silent' }
  /** The process ended first. */
  | { readonly kind: 'lost'; readonly reason: string }
  | { readonly kind: 'stopped' };

/** Why a process is lost. */
export type HostEnd =
  | { readonly cause: 'cpu' | 'wall'; readonly insideMs: number }
  /** A socket to a data plane was shut down. */
  | { readonly cause: 'socket' }
  | { readonly cause: 'crash'; readonly exit: ChildExit };

/** The script that was entered last, by its place in its generation. */
export interface LastEntered {
  readonly generation: number;
  readonly index: number;
}

export interface HostProcessOptions {
  readonly command: readonly string[];
  /** Inherited behind the page: as `queueFds` orders them. */
  readonly fds: readonly number[];
  readonly page: HeartbeatPage;
  readonly epoch: number;
  readonly iface: () => string;
  /** What the configuration says beside the scripts, now. */
  readonly facts?: (() => ConfigFacts) | undefined;
  /** CLOCK_MONOTONIC in microseconds. */
  readonly monotonicUs: () => number;
  /** What is not an answer to a load. */
  readonly onMessage: (message: FromScriptHost) => void;
  /** A bundle that nobody waits for any more became active. */
  readonly onLateLoad: () => void;
  readonly onEnd: (end: HostEnd) => void;
}

export interface HostMemory {
  readonly kv: readonly KvEntry[];
  /** Scripts to be loaded and never asked. */
  readonly disabled: readonly string[];
  readonly previous?: NonNullable<HostFacts['previous']>;
}

/** Sockets to one data plane. */
const FDS_OF_QUEUE = 2;

export class HostProcess {
  readonly page: HeartbeatPage;
  readonly epoch: number;
  readonly #options: HostProcessOptions;
  readonly #child: Child;
  readonly #watchdog: Watchdog;
  readonly #watch: ReturnType<typeof setInterval>;
  /** Loads that were asked for and not answered, by generation. */
  readonly #loads = new Map<number, (outcome: LoadOutcome) => void>();
  /** Generations of loads that were given up. */
  readonly #abandoned = new Set<number>();
  /** Names of scripts that want to hear of the end of their flows. */
  closers: readonly string[] = [];
  #limits: ScriptLimits | undefined;
  #isOver = false;

  constructor(options: HostProcessOptions) {
    const { command, fds, page, epoch } = options;
    this.#options = options;
    this.page = page;
    this.epoch = epoch;
    page.view.setFloat64(HeartbeatField.BUSY_SINCE, 0, true);
    page.view.setUint32(HeartbeatField.GENERATION, 0, true);
    const queues = String(fds.length / FDS_OF_QUEUE);
    this.#child = new Child([...command, queues], [page.fd, ...fds], {
      onMessage: (raw) => this.#receive(parseFromScriptHost(raw)),
      onExit: (exit) =>
        this.lose({ cause: 'crash', exit }, { kind: 'lost', reason: describeExit(exit) }),
    });
    this.#watchdog = new Watchdog(() => processCpuMs(this.#child.pid));
    this.#watch = setInterval(() => this.#look(), WATCHDOG_PERIOD_MS);
  }

  get pid(): number {
    return this.#child.pid;
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  /** A bundle may become active that was given up: what it will run is not known. */
  get isUncertain(): boolean {
    return this.#abandoned.size > 0;
  }

  get lastEntered(): LastEntered {
    const { view } = this.page;
    return {
      generation: view.getUint32(HeartbeatField.GENERATION, true),
      index: view.getUint32(HeartbeatField.SCRIPT, true),
    };
  }

  /** Has the bundle loaded and activated. Never rejects. */
  async load(
    bundle: Generation,
    memory: HostMemory,
    timeoutMs: number,
    how: { readonly canary?: CanaryPlan; readonly drainMs?: number | undefined } = {},
  ): Promise<LoadOutcome> {
    if (this.#isOver) return { kind: 'stopped' };
    const { promise, resolve } = Promise.withResolvers<LoadOutcome>();
    this.#loads.set(bundle.number, resolve);
    this.#limits = bundle.limits;
    for (const entries of kvChunks(memory.kv)) this.send({ kind: 'kv-restore', entries });
    const { iface, facts: ofConfig } = this.#options;
    const { disabled, previous } = memory;
    const facts = { iface: iface(), disabled, ...ofConfig?.(), ...(previous && { previous }) };
    this.send({
      kind: 'load',
      bundle: toBundle(bundle, facts),
      epoch: this.epoch,
      ...how,
    });
    const timer = setTimeout(() => {
      this.#abandoned.add(bundle.number);
      this.#settle(bundle.number, { kind: 'silent' });
    }, timeoutMs);
    const outcome = await promise;
    clearTimeout(timer);
    return outcome;
  }

  send(message: ToScriptHost): void {
    this.#child.send(message);
  }

  /** Ends it for what was seen from outside. @param outcome  of loads that are under way */
  lose(end: HostEnd, outcome: LoadOutcome): void {
    if (this.#isOver) return;
    this.#child.kill();
    this.#finish(outcome);
    this.#options.onEnd(end);
  }

  /** Ends it, and nothing more is told. */
  kill(): void {
    this.#finish({ kind: 'stopped' });
    this.#child.kill();
  }

  #look(): void {
    if (this.#limits === undefined) return;
    const busySince = this.page.view.getFloat64(HeartbeatField.BUSY_SINCE, true);
    const now = this.#options.monotonicUs();
    const judgement = this.#watchdog.judge({ now, busySince }, this.#limits.watchdogMs);
    if (judgement === 'innocent') return;
    const insideMs = Math.round((now - busySince) / 1000);
    const reason = `the script stayed ${insideMs} ms inside one call`;
    this.lose({ cause: judgement, insideMs }, { kind: 'lost', reason });
  }

  #receive(message: FromScriptHost): void {
    if (this.#isOver) return;
    switch (message.kind) {
      case 'ready':
        break;
      case 'loaded':
        if (this.#abandoned.has(message.generation)) this.#options.onLateLoad();
        else {
          this.closers = message.closers;
          this.#settle(message.generation, { kind: 'loaded' });
        }
        break;
      case 'load-failed':
        this.#abandoned.delete(message.generation);
        this.#settle(message.generation, { kind: 'refused', issues: message.issues });
        break;
      default:
        this.#options.onMessage(message);
    }
  }

  #finish(outcome: LoadOutcome): void {
    this.#isOver = true;
    clearInterval(this.#watch);
    for (const generation of [...this.#loads.keys()]) this.#settle(generation, outcome);
  }

  #settle(generation: number, outcome: LoadOutcome): void {
    this.#loads.get(generation)?.(outcome);
    this.#loads.delete(generation);
  }
}
