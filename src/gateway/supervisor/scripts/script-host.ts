/**
 * Keeps one script host running while a bundle is active.
 *
 * A new bundle is loaded into the host that runs, so that calls in flight finish where they began.
 * A host that does not confirm in time, because a script keeps it busy or because it died, says
 * nothing about the bundle: a new process loads it then, and takes over when it has. The old one
 * serves until that moment. The same way a host comes back that ended.
 *
 * Invariants: the data plane is told `up` only of a host that has loaded the active bundle, and
 * `down` as soon as that host is known to be lost. At most two processes live, each with a
 * heartbeat page of its own. A script that got its host killed or crashed too often is disabled
 * until the next change of scripts.
 */
import type { DecidedFlow, FromScriptHost, ScriptIssue } from '../../messages/script-control.ts';
import { CrashPolicy } from '../backoff.ts';
import { selfCommand } from '../child.ts';
import { Mutex } from '../mutex.ts';
import { Resolver } from '../resolver.ts';
import type { AsideOptions } from './aside.ts';
import { KillBreaker } from './breaker.ts';
import { bundleIssue, ScriptHostError } from './change-errors.ts';
import type { Generation } from './generation.ts';
import type { CanaryTrial, Checked } from './generation-parts.ts';
import type { Activator } from './generations.ts';
import { HostEnds } from './host-ends.ts';
import { type HostEnd, HostProcess } from './host-process.ts';
import { Drains, HostQuestions } from './host-questions.ts';
import { KvJournal } from './kv-journal.ts';
import { checkBundle } from './replay.ts';
import { ScriptAccounts } from './script-accounts.ts';
import { previousOf } from './script-bundle.ts';
import type { ScriptHostOptions } from './script-host-options.ts';
import { loadTimeMs, nonEmpty, START_ALLOWANCE_MS } from './script-load.ts';
import { logHostEnd, logScript } from './script-log.ts';

/** Beyond the time of the load itself: how long a host may be busy with its flows. */
const BUSY_ALLOWANCE_MS = 2_000;

export type HostState = 'idle' | 'running' | 'waiting';

export class ScriptHost implements Activator {
  readonly accounts = new ScriptAccounts((flows) => this.#host?.send({ kind: 'closed', flows }));
  readonly ends = new HostEnds();
  readonly #options: ScriptHostOptions;
  readonly #journal = new KvJournal((script) =>
    this.#options.log.warn({ script }, 'kv-journal-refused'),
  );
  readonly #resolver = new Resolver();
  readonly #crashes = new CrashPolicy();
  readonly #breaker = new KillBreaker();
  /** Processes come and go one at a time. */
  readonly #lock = new Mutex();
  /** The process that has loaded the active bundle. */
  #host: HostProcess | undefined;
  /** The process that is to take over. */
  #next: HostProcess | undefined;
  #restart: ReturnType<typeof setTimeout> | undefined;
  #active: Generation | undefined;
  #epoch = 0;
  #isWatched = false;
  readonly #questions = new HostQuestions();
  readonly drains = new Drains(() => this.#active?.number ?? 0, this.#journal);

  constructor(options: ScriptHostOptions) {
    this.#options = options;
  }

  get state(): HostState {
    if (this.#host !== undefined) return 'running';
    return this.#active === undefined ? 'idle' : 'waiting';
  }

  get pid(): number | undefined {
    return this.#host?.pid;
  }

  /** Scripts that are loaded but not asked any more. */
  get disabled(): readonly string[] {
    return this.#breaker.disabled;
  }

  /** The configuration has changed. */
  tellFacts(): void {
    const { upstreams = {}, listeners = {}, onError = 'reject' } = this.#options.facts?.() ?? {};
    const facts = { kind: 'facts', upstreams, listeners, onError } as const;
    for (const host of [this.#host, this.#next]) host?.send(facts);
  }

  check(bundle: Generation, active: Generation): Promise<Checked> {
    return checkBundle(bundle, active, () => this.#recentFlows(), this.asideOptions());
  }

  asideOptions(): AsideOptions {
    const { iface, checkCommand: command, facts } = this.#options;
    return { iface: iface(), command, kv: this.#journal.entries(Date.now()), ...facts?.() };
  }

  /** Loads it beside the active bundle, into the same process. @throws ScriptHostError */
  async loadCanary(bundle: Generation, plan: CanaryTrial): Promise<readonly ScriptIssue[]> {
    return this.#lock.run(async () => {
      const host = this.#host;
      if (host === undefined || host.isUncertain) {
        throw new ScriptHostError('no script host runs that could take a canary');
      }
      const { busyAllowanceMs = BUSY_ALLOWANCE_MS } = this.#options;
      this.#journal.admit('canary', bundle);
      const { share, errors, windowMs } = plan;
      const how = { canary: { share, errors, windowMs }, drainMs: this.#drainMs };
      const outcome = await host.load(bundle, NO_MEMORY, loadTimeMs(bundle) + busyAllowanceMs, how);
      this.accounts.closed.watch(host.closers);
      if (outcome.kind === 'loaded') return [];
      this.#journal.retire('canary');
      if (outcome.kind === 'refused') return nonEmpty(outcome.issues, bundle);
      if (host.isUncertain) this.#restartAfter(0);
      throw new ScriptHostError(`the script host did not take the canary (${outcome.kind})`);
    });
  }

  async promoteCanary(bundle: Generation): Promise<boolean> {
    return this.#lock.run(async () => {
      const isDone =
        this.#host !== undefined && (await this.#questions.promote(this.#host, bundle.number));
      if (isDone) this.#commit(bundle);
      else this.dropCanary();
      return isDone;
    });
  }

  dropCanary(): void {
    this.#host?.send({ kind: 'drop-canary' });
    this.#journal.retire('canary');
  }

  watch(isOn: boolean): void {
    this.#isWatched = isOn;
    this.#host?.send({ kind: 'watch', isOn });
  }

  /**
   * A data plane has seen the end of a socket that hosts share: those that live are lost. Which of
   * them did it nobody can tell, so that a bundle which was being loaded is not to blame.
   */
  socketShut(): void {
    this.#next?.lose({ cause: 'socket' }, { kind: 'stopped' });
    const reason = 'a socket to the data plane was shut down';
    this.#host?.lose({ cause: 'socket' }, { kind: 'lost', reason });
  }

  /** Settles when no bundle is in memory but the active one and a canary. */
  drained(): Promise<void> {
    return this.drains.over;
  }

  activate(bundle: Generation): Promise<readonly ScriptIssue[]> {
    return this.#lock.run(async () => {
      if (bundle.scripts.length === 0) {
        await this.stop();
        this.#forgetScripts(bundle);
        return [];
      }
      this.#journal.admit('next', bundle);
      try {
        const issues = await this.#change(bundle);
        if (issues.length === 0) this.#commit(bundle);
        return issues;
      } finally {
        this.#journal.retire('next');
        if (this.#active === undefined) await this.stop();
        else if (this.#host?.isUncertain) this.#restartAfter(0);
      }
    });
  }

  /** Ends the host for good; the data plane refuses unmatched flows at once. */
  async stop(): Promise<void> {
    this.#active = undefined;
    clearTimeout(this.#restart);
    const processes = [this.#host, this.#next].filter((process) => process !== undefined);
    this.#host = undefined;
    this.#next = undefined;
    this.#forgetHost();
    this.#options.onState({ state: 'none', epoch: this.#epoch });
    for (const process of processes) process.kill();
    await Promise.all(processes.map((process) => process.exited));
  }

  /** @throws ScriptHostError */
  async #change(bundle: Generation): Promise<readonly ScriptIssue[]> {
    const { log, busyAllowanceMs = BUSY_ALLOWANCE_MS } = this.#options;
    const host = this.#host;
    if (host === undefined || host.isUncertain) return this.#replace(bundle, []);
    const timeoutMs = loadTimeMs(bundle) + busyAllowanceMs;
    const outcome = await host.load(bundle, NO_MEMORY, timeoutMs, { drainMs: this.#drainMs });
    if (outcome.kind === 'loaded') return [];
    if (outcome.kind === 'refused') return nonEmpty(outcome.issues, bundle);
    if (outcome.kind === 'stopped') throw stopped();
    log.warn({ why: outcome.kind, pid: host.pid }, 'script-host-replaced');
    return this.#replace(bundle, []);
  }

  /**
   * Loads the bundle into a new process, which takes over when it has.
   *
   * @throws ScriptHostError
   */
  async #replace(bundle: Generation, disabled: readonly string[]): Promise<readonly ScriptIssue[]> {
    const next = this.#spawn();
    const kv = this.#journal.entries(Date.now());
    const memory = { kv, disabled, ...previousOf(this.#active) };
    const timeoutMs = loadTimeMs(bundle) + START_ALLOWANCE_MS;
    const outcome = await next.load(bundle, memory, timeoutMs);
    if (this.#next === next) this.#next = undefined;
    switch (outcome.kind) {
      case 'loaded':
        this.#takeOver(next, bundle);
        return [];
      case 'refused':
        next.kill();
        return nonEmpty(outcome.issues, bundle);
      case 'lost':
        // Nothing else ran in it.
        return [bundleIssue(bundle, 'load', outcome.reason)];
      case 'silent':
        next.kill();
        throw new ScriptHostError(
          `a new script host was not up within ${timeoutMs} ms: the machine is overloaded`,
        );
      case 'stopped':
        throw stopped();
    }
  }

  #spawn(): HostProcess {
    const { fds, pages, iface, facts, monotonicUs } = this.#options;
    const { hostCommand = selfCommand('__script-host') } = this.#options;
    const [first, second] = pages;
    const process: HostProcess = new HostProcess({
      command: hostCommand,
      fds: fds(),
      page: this.#host?.page === first ? second : first,
      epoch: ++this.#epoch,
      iface,
      facts,
      monotonicUs,
      onMessage: (message) => this.#receive(process, message),
      onLateLoad: () => this.#lost(process),
      onEnd: (end) => this.#ended(process, end),
    });
    this.#next = process;
    return process;
  }

  /** What waits for the old process gets the fallback: its epoch is over. */
  #takeOver(next: HostProcess, { number }: Generation): void {
    const old = this.#host;
    this.#host = next;
    this.#forgetHost([number]);
    if (this.#isWatched) next.send({ kind: 'watch', isOn: true });
    if (old === undefined) return;
    old.kill();
    this.#options.onLost?.('the script host was replaced');
  }

  /** A canary and all that drained go with it. @param inMemory  what the next host has */
  #forgetHost(inMemory: readonly number[] = []): void {
    this.accounts.hostEnded();
    this.#journal.retire('canary');
    this.drains.set(inMemory);
  }

  #commit(bundle: Generation): void {
    this.#active = bundle;
    this.#forgetScripts(bundle);
    this.#breaker.reset();
    this.#tellUp();
  }

  /** What was counted of others than those of the bundle; what they kept goes when they drained. */
  #forgetScripts(bundle: Generation): void {
    this.#journal.commit(bundle, Date.now());
    const names = new Set(bundle.scripts.map((script) => script.name));
    this.accounts.prune(names);
    this.ends.prune(names);
  }

  #tellUp(): void {
    // A host that died since is known to be lost, and the data plane knows.
    if (this.#host === undefined) return;
    this.#options.onState({ state: 'up', epoch: this.#host.epoch });
    this.accounts.closed.start(this.#host.closers);
  }

  #receive(process: HostProcess, message: FromScriptHost): void {
    switch (message.kind) {
      case 'resolve':
        void this.#resolve(process, message.id, message.name);
        break;
      case 'log':
        logScript(this.#options.log, message);
        break;
      case 'kv':
        this.#journal.record(message.entries);
        break;
      case 'canary':
        if (process !== this.#host) break;
        if (message.stopped !== undefined) this.#journal.retire('canary');
        this.#options.onCanary?.(message);
        break;
      case 'generations':
        if (process === this.#host) this.drains.set(message.numbers);
        break;
      case 'promoted':
        // As with a load that comes late: nobody knows of what it runs.
        if (this.#questions.promoted(message.generation, message.isDone)) this.#lost(process);
        break;
      case 'decided':
        this.#options.onDecided?.(message.flows, message.left);
        break;
      case 'recent':
        this.#questions.toldRecent(message.flows);
        break;
      default:
        if (process === this.#host) this.accounts.receive(message);
    }
  }

  async #resolve(process: HostProcess, id: number, name: string): Promise<void> {
    process.send({ kind: 'resolved', id, ...(await this.#resolver.resolve(name)) });
  }

  #ended(process: HostProcess, end: HostEnd): void {
    const { log } = this.#options;
    const { generation, index } = process.lastEntered;
    const active = this.#active;
    // Undefined while a bundle is only being tried: its refusal says enough.
    const script = active?.number === generation ? active.scripts[index]?.name : undefined;
    this.ends.note(end.cause, script);
    logHostEnd(log, { script, pid: process.pid }, end);
    if (active !== undefined && script !== undefined) {
      const isDisabled = this.#breaker.killed(script, Date.now(), active.limits);
      if (isDisabled) log.error({ script, kills: active.limits.breakerHits }, 'script-disabled');
    }
    this.#lost(process);
  }

  /** Flows get the fallback until another host has loaded the active bundle. */
  #lost(process: HostProcess): void {
    // Whoever waits for the load of the next one deals with its end.
    if (process !== this.#host) return;
    this.#host = undefined;
    process.kill();
    this.#forgetHost();
    this.#questions.lost();
    this.#options.onState({ state: 'down', epoch: this.#epoch + 1 });
    this.#options.onLost?.('the script host was lost');
    this.#restartAfter(this.#crashes.crashed(performance.now()) ?? 0);
  }

  get #drainMs(): number | undefined {
    return this.#options.drainMs?.();
  }

  async #recentFlows(): Promise<readonly DecidedFlow[]> {
    const count = this.#options.replayFlows?.() ?? 0;
    const host = count === 0 ? undefined : this.#host;
    return host === undefined ? [] : this.#questions.recent(host, count);
  }

  #restartAfter(delayMs: number): void {
    clearTimeout(this.#restart);
    this.#restart = setTimeout(() => void this.#lock.run(() => this.#recover()), delayMs);
  }

  async #recover(): Promise<void> {
    const active = this.#active;
    const isServed = this.#host !== undefined && !this.#host.isUncertain;
    if (active === undefined || isServed) return;
    if (await this.#isReplaced(active)) this.#tellUp();
    else if (this.#active !== undefined) {
      this.#restartAfter(this.#crashes.crashed(performance.now()) ?? 0);
    }
  }

  async #isReplaced(active: Generation): Promise<boolean> {
    try {
      const issues = await this.#replace(active, this.#breaker.disabled);
      if (issues.length > 0) this.#options.log.error({ issues }, 'script-host-not-restarted');
      return issues.length === 0;
    } catch (error) {
      if (!(error instanceof ScriptHostError)) throw error;
      this.#options.log.error({ why: error.message }, 'script-host-not-restarted');
      return false;
    }
  }
}

/** It has the KV itself. */
const NO_MEMORY = { kv: [], disabled: [] };

const stopped = (): ScriptHostError => new ScriptHostError('the script host was stopped meanwhile');
