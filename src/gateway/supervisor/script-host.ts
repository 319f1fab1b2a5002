/**
 * Keeps one script host running while a bundle is active, and kills it when it hangs.
 *
 * Life cycle: `idle` without a bundle; `running`; after an end of the process `waiting` for the
 * restart. A script for which the watchdog had to kill too often is disabled until the next change
 * of scripts. Invariant: the data plane is told `up` only when a host has loaded the active bundle,
 * and `down` with a new epoch as soon as that host is known to be lost.
 */
import type { ScriptsState } from '../messages/control.ts';
import {
  type FromScriptHost,
  HeartbeatField,
  type ScriptIssue,
} from '../messages/script-control.ts';
import { CrashPolicy } from './backoff.ts';
import { KillBreaker } from './breaker.ts';
import { Child, type ChildExit, selfCommand } from './child.ts';
import { parseFromScriptHost } from './child-messages.ts';
import type { Activator, Generation } from './generations.ts';
import { KvJournal } from './kv-journal.ts';
import type { Logger } from './logger.ts';
import { Resolver } from './resolver.ts';
import { toBundle } from './script-bundle.ts';
import { bundleIssue, checkScripts, describeExit, START_ALLOWANCE_MS } from './script-check.ts';
import { ScriptTotalsTable } from './script-totals.ts';
import { processCpuMs, WATCHDOG_PERIOD_MS, Watchdog } from './watchdog.ts';

export type HostState = 'idle' | 'running' | 'waiting';

export interface ScriptHostOptions {
  readonly log: Logger;
  /** As ScriptHostFd orders them. */
  readonly fds: readonly number[];
  /** The page that HeartbeatField describes. */
  readonly heartbeat: DataView;
  readonly iface: string;
  /** CLOCK_MONOTONIC in microseconds. */
  readonly monotonicUs: () => number;
  /** Tells the data plane. */
  readonly onState: (state: ScriptsState) => void;
  readonly hostCommand?: readonly string[];
  readonly checkCommand?: readonly string[];
}

type LoadEnd = (issues: readonly ScriptIssue[]) => void;

export class ScriptHost implements Activator {
  readonly totals = new ScriptTotalsTable();
  /** Ends of host processes, by cause. */
  readonly restarts = { cpu: 0, wall: 0, crash: 0 };
  readonly #options: ScriptHostOptions;
  readonly #journal = new KvJournal();
  readonly #resolver = new Resolver();
  /** Loads that were asked for and not answered, by generation. */
  readonly #loads = new Map<number, LoadEnd>();
  readonly #crashes = new CrashPolicy();
  readonly #breaker = new KillBreaker();
  #child: Child | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  #restart: ReturnType<typeof setTimeout> | undefined;
  #active: Generation | undefined;
  /** The bundle that was sent last. */
  #sent: Generation | undefined;
  #state: HostState = 'idle';
  #epoch = 0;
  /** The running host has loaded the active bundle. */
  #isLoaded = false;

  constructor(options: ScriptHostOptions) {
    this.#options = options;
  }

  get state(): HostState {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Scripts that are loaded but not asked any more. */
  get disabled(): readonly string[] {
    return this.#breaker.disabled;
  }

  check(bundle: Generation): Promise<readonly ScriptIssue[]> {
    const { iface, checkCommand } = this.#options;
    return checkScripts(bundle, iface, checkCommand);
  }

  async activate(bundle: Generation): Promise<readonly ScriptIssue[]> {
    this.#journal.prune(new Set(bundle.scripts.map((script) => script.name)), Date.now());
    if (bundle.scripts.length === 0) {
      await this.stop();
      return [];
    }
    const issues = await this.#load(bundle, []);
    if (issues.length === 0) {
      this.#active = bundle;
      this.#breaker.reset();
      this.#setUp();
    } else if (this.#active === undefined) {
      await this.stop();
    } else if (this.#child !== undefined && !this.#isLoaded) {
      // The host was made for the bundle that it refused: it knows nothing of the active one.
      await this.#reload(this.#active);
    }
    return issues;
  }

  /** Ends the host for good; the data plane refuses unmatched flows at once. */
  async stop(): Promise<void> {
    this.#active = undefined;
    this.#state = 'idle';
    clearTimeout(this.#restart);
    const child = this.#child;
    this.#forgetChild();
    this.#options.onState({ state: 'none', epoch: this.#epoch });
    child?.kill();
    await child?.exited;
  }

  /** Loads into the running host, or into a new one, within the time that the limits grant. */
  async #load(bundle: Generation, disabled: readonly string[]): Promise<readonly ScriptIssue[]> {
    const child = this.#child ?? this.#spawn();
    const { promise, resolve } = Promise.withResolvers<readonly ScriptIssue[]>();
    this.#loads.set(bundle.number, resolve);
    this.#sent = bundle;
    const memory = { iface: this.#options.iface, kv: this.#journal.entries(Date.now()), disabled };
    child.send({ kind: 'load', bundle: toBundle(bundle, memory), epoch: this.#epoch });
    const timer = setTimeout(
      () => {
        const message = `did not load within ${bundle.limits.loadMs} ms`;
        this.#endLoad(bundle.number, [bundleIssue(bundle, 'limit', message)]);
        child.kill();
      },
      bundle.limits.loadMs * bundle.scripts.length + START_ALLOWANCE_MS,
    );
    const issues = await promise;
    clearTimeout(timer);
    // An exit tells nothing about a bundle; here its name is known.
    return issues.map((issue) =>
      issue.file === '' ? bundleIssue(bundle, issue.kind, issue.message) : issue,
    );
  }

  #spawn(): Child {
    clearTimeout(this.#restart);
    const { fds, heartbeat, hostCommand = selfCommand('__script-host') } = this.#options;
    this.#epoch++;
    heartbeat.setFloat64(HeartbeatField.BUSY_SINCE, 0, true);
    this.#isLoaded = false;
    const child: Child = new Child(hostCommand, fds, {
      onMessage: (raw) => this.#receive(child, parseFromScriptHost(raw)),
      onExit: (exit) => this.#exited(child, exit),
    });
    this.#child = child;
    this.#state = 'running';
    const watchdog = new Watchdog(() => processCpuMs(child.pid));
    this.#watch = setInterval(() => this.#look(watchdog), WATCHDOG_PERIOD_MS);
    return child;
  }

  #forgetChild(): void {
    clearInterval(this.#watch);
    this.#child = undefined;
    this.#isLoaded = false;
    this.totals.hostEnded();
    for (const generation of [...this.#loads.keys()]) {
      this.#endLoad(generation, [exitIssue('the script host was stopped')]);
    }
  }

  #look(watchdog: Watchdog): void {
    const { heartbeat, monotonicUs, log } = this.#options;
    const limits = this.#sent?.limits;
    if (limits === undefined) return;
    const busySince = heartbeat.getFloat64(HeartbeatField.BUSY_SINCE, true);
    const look = { now: monotonicUs(), busySince };
    const judgement = watchdog.judge(look, limits.watchdogMs);
    if (judgement === 'innocent') return;
    const insideMs = Math.round((look.now - busySince) / 1000);
    const script = this.#culprit();
    log.error(
      { script, kind: judgement, inside_ms: insideMs, pid: this.pid },
      'script-host-killed',
    );
    this.restarts[judgement]++;
    if (script !== undefined && this.#breaker.killed(script, Date.now(), limits)) {
      log.error({ script, kills: limits.breakerHits }, 'script-disabled');
    }
    const child = this.#child;
    this.#lost(`the script stayed ${insideMs} ms inside one call`);
    child?.kill();
  }

  /** Name of the script that was entered last; undefined while a bundle is only being tried. */
  #culprit(): string | undefined {
    const { heartbeat } = this.#options;
    const generation = heartbeat.getUint32(HeartbeatField.GENERATION, true);
    const index = heartbeat.getUint32(HeartbeatField.SCRIPT, true);
    return this.#active?.number === generation ? this.#active.scripts[index]?.name : undefined;
  }

  #receive(child: Child, message: FromScriptHost): void {
    if (child !== this.#child) return;
    switch (message.kind) {
      case 'ready':
        break;
      case 'loaded':
        this.#endLoad(message.generation, []);
        break;
      case 'load-failed':
        this.#endLoad(message.generation, message.issues, true);
        break;
      case 'resolve':
        void this.#resolve(child, message.id, message.name);
        break;
      case 'log':
        this.#logLine(message);
        break;
      case 'kv':
        this.#journal.record(message.entries);
        break;
      case 'stats':
        this.totals.record(message.scripts);
        break;
    }
  }

  #endLoad(generation: number, issues: readonly ScriptIssue[], refused = false): void {
    const end = this.#loads.get(generation);
    this.#loads.delete(generation);
    end?.(refused && issues.length === 0 ? [exitIssue('did not load, without a reason')] : issues);
  }

  async #resolve(child: Child, id: number, name: string): Promise<void> {
    child.send({ kind: 'resolved', id, ...(await this.#resolver.resolve(name)) });
  }

  #logLine(line: Extract<FromScriptHost, { kind: 'log' }>): void {
    const { script, generation, flow, fields, message, level } = line;
    const id = flow === undefined ? {} : { flow_id: flow.toString(36) };
    this.#options.log[level](
      { ...fields, event: 'script', script, script_version: generation, ...id },
      message,
    );
  }

  #exited(child: Child, exit: ChildExit): void {
    if (child !== this.#child) return;
    this.restarts.crash++;
    const { code, signal, protocolError } = exit;
    this.#options.log.error({ code, signal, err: protocolError }, 'script-host-exited');
    this.#lost(describeExit(exit));
  }

  /** The host is gone or about to be: flows get the fallback until the next one is loaded. */
  #lost(reason: string): void {
    for (const generation of [...this.#loads.keys()]) {
      this.#endLoad(generation, [exitIssue(reason)]);
    }
    this.#forgetChild();
    const active = this.#active;
    if (active === undefined) {
      this.#state = 'idle';
      return;
    }
    this.#options.onState({ state: 'down', epoch: this.#epoch + 1 });
    this.#state = 'waiting';
    const delayMs = this.#crashes.crashed(performance.now()) ?? 0;
    this.#restart = setTimeout(() => void this.#reload(active), delayMs);
  }

  async #reload(active: Generation): Promise<void> {
    if (this.#isLoaded || this.#active !== active) return;
    const issues = await this.#load(active, this.#breaker.disabled);
    if (this.#active !== active) return;
    if (issues.length === 0) this.#setUp();
    // A host that died while loading is on its way back already.
    else if (this.#child !== undefined) this.#child.kill();
  }

  #setUp(): void {
    this.#isLoaded = true;
    this.#options.onState({ state: 'up', epoch: this.#epoch });
  }
}

/** Without a place: the one who waits for the load knows the bundle. */
const exitIssue = (message: string): ScriptIssue => ({
  script: '',
  file: '',
  line: 0,
  column: 0,
  kind: 'load',
  message,
});
