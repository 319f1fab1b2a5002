/**
 * All scripts of a gateway, without the process around them: requests and messages come in,
 * answers and messages go out through `HostPorts`. Everything but `load` is synchronous. Whoever
 * runs it calls `expire` when `nextDeadline` has come.
 */
import type { ConnectionRequest, OnError } from '../stack/verdict.ts';
import type { EndedFlow, ScriptBundle, ScriptIssue } from './bundle/bundle.ts';
import { Conns } from './conns/conns.ts';
import type { ConnEvents } from './conns/ports.ts';
import { Decisions } from './decide.ts';
import type { Decision } from './decision.ts';
import { closersOf, EndedFlowQueue } from './ended-flow-queue.ts';
import { SpareEngine } from './engine/spare-engine.ts';
import { decisionNote, sniffNote } from './flow-note.ts';
import { FlowSniffing } from './flow-sniffing.ts';
import { lastWord } from './generations/last-word.ts';
import { loadBundle } from './generations/loader.ts';
import { Registry } from './generations/registry.ts';
import { Rollout } from './generations/rollout.ts';
import type { HostPorts, LoadOptions } from './host-ports.ts';
import { SLICE_US } from './limits.ts';
import { Lookups } from './lookups.ts';
import { type DecidedFlow, RecentFlows } from './recent-flows.ts';
import { Timetable } from './schedule/timetable.ts';
import type { Script } from './script/script.ts';
import { callNumbers } from './script/script-calls.ts';
import { ScriptMemory } from './script/script-memory.ts';
import type { ScriptPorts } from './script/script-ports.ts';
import { SeenNames } from './seen-names.ts';
import type { KnownListeners, KnownUpstreams } from './verdict/verdict-fit.ts';

/** How much of the journal a kill can cost, in microseconds. */
const JOURNAL_PERIOD_US = 100_000;
const STATS_PERIOD_US = 1_000_000;
const US_PER_MS = 1000;
const NEVER = Number.POSITIVE_INFINITY;

export class ScriptHost {
  /** What clients know addresses by. */
  readonly seenNames = new SeenNames();
  readonly #ports: HostPorts;
  readonly #services: readonly string[];
  readonly #scriptPorts: ScriptPorts;
  readonly #registry = new Registry();
  readonly #lookups: Lookups;
  readonly #decisions: Decisions;
  readonly #sniffing = new FlowSniffing((requestId, request, arrivedAt, sniffed) => {
    this.#ports.noted?.(request.flow, { sniff: sniffNote(sniffed) });
    this.#start(requestId, request, arrivedAt);
  });
  readonly #conns: Conns;
  readonly #memory: ScriptMemory;
  readonly #timetable = new Timetable();
  readonly #loading = new Set<Script>();
  readonly #ended = new EndedFlowQueue(this.#registry);
  readonly #recent = new RecentFlows();
  readonly #rollout: Rollout;
  readonly #spare = new SpareEngine(() => this.#scriptWithoutEngine());
  /** What `via` and `redirect` may name, in all generations; undefined where nobody knows. */
  upstreams: KnownUpstreams | undefined;
  listeners: KnownListeners | undefined;
  /** What becomes of flows whose decision fails, in all generations. */
  onError: OnError = 'reject';
  #journalAt = NEVER;
  #statsAt = NEVER;
  /** Position in the list of all scripts of all generations. */
  #firstToFire = 0;

  /** @param services  of the gateway, for `redirect` */
  constructor(ports: HostPorts, services: readonly string[]) {
    this.#ports = ports;
    this.#services = services;
    this.#memory = new ScriptMemory(() => ports.epochMs());
    this.#scriptPorts = this.#makeScriptPorts();
    this.#lookups = new Lookups((id, name) => ports.resolve(id, name));
    const upstreams = () => this.upstreams;
    this.#conns = new Conns(ports.conns, this.#lookups, {
      now: () => ports.now(),
      upstreams,
      noted: (flow, note) => ports.noted?.(flow, note),
    });
    this.#rollout = new Rollout(this.#registry, {
      now: () => ports.now(),
      changed: () => this.#generationsChanged(),
      leaving: ({ scripts }) => {
        for (const script of scripts) script.hooks.unload();
      },
      activated: ({ scripts }) => this.#timetable.set(scripts, ports.epochMs()),
      stopped: (counts) => ports.canary?.(counts),
    });
    this.#decisions = new Decisions({
      now: () => ports.now(),
      nextCall: this.#scriptPorts.nextCall,
      answer: (requestId, decision, request) => {
        const note = decisionNote(decision, services);
        if (note !== undefined) ports.noted?.(request.flow, note);
        ports.answer(requestId, decision);
        this.#answered(decision, request);
      },
      resolve: (id, name) =>
        this.#lookups.resolve(name, (...found) => this.#decisions.resolved(id, ...found)),
      claim: (requestId, request, generation, script) =>
        this.#conns.claim(requestId, request, generation, script),
      upstreams,
      listeners: () => this.listeners,
      onError: () => this.onError,
      limitHit: (script, ...what) => script.reports.missedVerdict(...what),
      unresolved: (script, flow, verdict, name, error) =>
        script.reports.unresolved(`${verdict}(): "${name}"`, error, flow),
    });
  }

  /** Number of the active generation; 0 before the first. */
  get generation(): number {
    return this.#registry.active?.number ?? 0;
  }

  /** When a script that loads has something to do, in microseconds; Infinity for never. */
  get loadingDeadline(): number {
    return Math.min(NEVER, ...Array.from(this.#loading, ({ nextDeadline }) => nextDeadline));
  }

  /** Decisions that wait for a script. */
  get pending(): number {
    return this.#decisions.pending;
  }

  /** Connections that scripts claimed and did not splice. */
  get claims(): number {
    return this.#conns.count;
  }

  /**
   * What whoever carries claimed connections has to tell. Scripts hear of it when `expire` is
   * called, for which `nextDeadline` has come then.
   */
  get conns(): ConnEvents {
    return this.#conns;
  }

  /** Generations in memory: the active one and those that calls still use. */
  get generations(): readonly number[] {
    return this.#registry.generations.map(({ number }) => number);
  }

  /** Something is being made that needs the event loop. */
  get isPreparing(): boolean {
    return this.#spare.isMaking;
  }

  /**
   * Loads a bundle and activates it, if all of it loads; as a canary, it is kept beside the active
   * one. Decisions may be asked for meanwhile.
   *
   * @returns what is wrong with it; then everything is as it was
   */
  async load(bundle: ScriptBundle, options: LoadOptions = {}): Promise<readonly ScriptIssue[]> {
    if (bundle.upstreams !== undefined) this.upstreams = bundle.upstreams;
    if (bundle.listeners !== undefined) this.listeners = bundle.listeners;
    if (bundle.onError !== undefined) this.onError = bundle.onError;
    const isCanary = options.canary !== undefined;
    const memory = this.#memory.open(bundle);
    const old = (name: string): string => lastWord(this.#registry, name, bundle, isCanary);
    const loaded = await loadBundle(bundle, this.#services, { ...memory, old }, this.#scriptPorts);
    this.#loading.clear();
    if (!('scripts' in loaded)) {
      // They may have handed over what they know; the next ones get it anew.
      for (const script of this.#registry.active?.scripts ?? []) script.hooks.stay();
      return loaded;
    }
    this.#memory.keep(memory, bundle, isCanary);
    this.#rollout.take(loaded, options);
    this.#afterTurn();
    this.#spare.make();
    return [];
  }

  /**
   * Asks the active generation; `ports.answer` is called once, perhaps before this returns.
   *
   * @param arrivedAt  since when it has waited, in microseconds
   */
  request(
    requestId: number,
    asked: ConnectionRequest,
    arrivedAt: number = this.#ports.now(),
  ): void {
    const request = this.seenNames.named(asked, this.#ports.now());
    const seenName = request.dnsName;
    if (seenName !== undefined) this.#ports.noted?.(request.flow, { seenName });
    const generation = this.#rollout.pick(request);
    if (generation === undefined) throw new Error('a request came before the first bundle');
    const { sniffs } = generation;
    if (request.protocol === 'udp' && sniffs.length > 0 && this.#ports.show !== undefined) {
      if (this.#sniffing.begin(requestId, request, sniffs, arrivedAt)) {
        this.#ports.show(requestId);
        return;
      }
    }
    this.#decisions.start(requestId, request, generation, arrivedAt);
    this.#afterTurn();
  }

  /** A datagram of a UDP flow that `ports.show` was asked for. */
  shown(requestId: number, datagram: Uint8Array): void {
    this.#sniffing.push(requestId, datagram);
  }

  #start(requestId: number, request: ConnectionRequest, arrivedAt: number): void {
    const generation = this.#rollout.pick(request);
    if (generation === undefined) return;
    this.#decisions.start(requestId, request, generation, arrivedAt);
    this.#afterTurn();
  }

  /** The canary decides about all new flows from now on. @returns false when it is gone */
  promote(generation: number): boolean {
    const isDone = this.#rollout.promote(generation);
    this.#afterTurn();
    return isDone;
  }

  /** The canary decides about no flow any more; what waits in it is still answered. */
  dropCanary(): void {
    this.#rollout.drop();
    this.#afterTurn();
  }

  /** Flows of late and what was decided about them, oldest first. */
  recent(most: number): readonly DecidedFlow[] {
    return this.#recent.last(most);
  }

  /** From now on, or no longer, `ports.decided` is told of flows. */
  watch(isOn: boolean): void {
    this.#recent.watch(isOn, this.#ports.now());
  }

  /** Nobody waits for the answer any more, and none will come. */
  cancel(requestId: number): void {
    this.#sniffing.cancel(requestId);
    this.#decisions.cancel(requestId);
    this.#conns.cancel(requestId);
    this.#afterTurn();
  }

  /** The answer to `ports.resolve`. */
  resolved(id: number, addresses: readonly string[], error: string): void {
    this.#lookups.resolved(id, addresses, error);
    this.#afterTurn();
  }

  /** Names of scripts of the active generation that want to hear of the end of their flows. */
  get closers(): readonly string[] {
    return this.#registry.generations.flatMap((generation) => closersOf(generation));
  }

  /** Flows that scripts decided have ended; `ports.closedTold` follows when they heard of all. */
  closed(flows: readonly EndedFlow[]): void {
    this.#ended.add(flows);
  }

  /** A script that decides about new flows. */
  scriptCalled(name: string): Script | undefined {
    return this.#registry.active?.scripts.find((script) => script.name === name);
  }

  /** What the KV of a script holds, in the order in which the keys were made. */
  kvEntries(script: string): [key: string, value: string | number][] {
    return this.#memory.kvEntries(script);
  }

  /** When `expire` has something to do, in microseconds; Infinity for never. Makes no lists. */
  nextDeadline(): number {
    if (!this.#ended.isEmpty) return 0;
    let next = Math.min(this.#decisions.nextDeadline, this.#journalAt, this.#statsAt);
    next = Math.min(next, this.#recent.nextDeadline, this.#conns.nextDeadline);
    next = Math.min(next, this.#sniffing.nextDeadline);
    for (const generation of this.#registry.generations) {
      next = Math.min(next, generation.nextDeadline);
      for (const script of generation.scripts) next = Math.min(next, script.nextDeadline);
    }
    if (this.#loading.size > 0) next = Math.min(next, this.loadingDeadline);
    const waitMs = this.#timetable.nextAt - this.#ports.epochMs();
    return Math.min(next, this.#ports.now() + Math.max(0, waitMs) * US_PER_MS);
  }

  /**
   * Does what is due at `now`: timers of scripts, decisions that took too long, reports. Stops
   * after some slices of time (SLICE_US) if there is more; then `nextDeadline` has come already.
   */
  expire(now: number): void {
    this.#fireTimers(now);
    this.#timetable.run(this.#ports.epochMs());
    this.#tellEnded();
    this.#sniffing.expire(now);
    this.#decisions.afterTurn();
    this.#decisions.expire(now);
    this.#conns.expire(now);
    this.#registry.expire(now, ({ number }) => this.#conns.endGeneration(number));
    this.#afterTurn();
    if (now >= this.#journalAt) this.#writeJournal();
    if (now >= this.#statsAt) this.#writeStats();
    this.#recent.tell(now, this.#ports.decided);
  }

  /** For one slice of time; who comes next then is the first one the next time. */
  #fireTimers(now: number): void {
    const scripts = this.#registry.generations
      .flatMap((generation) => generation.scripts)
      .concat([...this.#loading]);
    for (const script of scripts) script.hooks.expire(now);
    const end = this.#ports.now() + SLICE_US;
    for (let i = 0; i < scripts.length; i++) {
      const at = (this.#firstToFire + i) % scripts.length;
      scripts[at]?.fireTimers(now, end);
      if (this.#ports.now() < end) continue;
      this.#firstToFire = at + 1;
      return;
    }
  }

  #tellEnded(): void {
    if (this.#ended.isEmpty) return;
    this.#ended.tell(() => this.#ports.now());
    if (this.#ended.isEmpty) this.#ports.closedTold?.();
  }

  #makeScriptPorts(): ScriptPorts {
    const ports = this.#ports;
    return {
      ...{ now: () => ports.now(), cpuTime: () => ports.cpuTime() },
      extension: ports.extension,
      enter: (script, aheadUs) => ports.enter(script.generation, script.position, aheadUs),
      ...{ leave: () => ports.leave(), log: (line) => ports.log(line) },
      onError: () => this.onError,
      settled: (script, call, answer) => this.#decisions.settled(script, call, answer),
      lost: (script) => {
        this.#decisions.lost(script);
        this.#conns.lostScript(script);
      },
      conns: (script) => this.#conns.portsOf(script),
      nextCall: callNumbers(),
      callOver: (call) => this.#conns.callOver(call),
      worked: (turnOf, us) => this.#conns.charge(turnOf, us),
      loading: (script) => this.#loading.add(script),
      takeSpare: () => this.#spare.take(),
    };
  }

  #scriptWithoutEngine(): Script | undefined {
    const scripts = this.#rollout.serving.flatMap((generation) => generation.scripts);
    return scripts.find((script) => script.needsEngine);
  }

  /** What any call can leave behind: settled promises, generations without calls, reports. */
  #afterTurn(): void {
    this.#decisions.afterTurn();
    this.#conns.afterTurn();
    this.#rollout.afterTurn();
    if (this.#registry.sweep()) this.#generationsChanged();
    const now = this.#ports.now();
    if (this.#statsAt === NEVER) this.#statsAt = now + STATS_PERIOD_US;
    const mustWrite = this.#journalAt === NEVER && this.#memory.hasKvChanges;
    if (mustWrite) this.#journalAt = now + JOURNAL_PERIOD_US;
  }

  #writeJournal(): void {
    this.#journalAt = NEVER;
    const entries = this.#memory.takeKvChanges();
    if (entries.length > 0) this.#ports.kv(entries);
  }

  #answered(decision: Decision, request: ConnectionRequest): void {
    this.#recent.record(request, decision, this.#ports.epochMs());
    this.#rollout.record(decision);
  }

  #generationsChanged(): void {
    const { generations } = this.#registry;
    const names = generations.flatMap(({ scripts }) => scripts.map(({ name }) => name));
    this.#memory.forgetUnused(new Set(names));
    this.#ports.generations?.(this.generations);
  }

  #writeStats(): void {
    this.#statsAt = NEVER;
    // Canary and active bundle share the counters; how a script stands is said of the active one.
    const { active, generations } = this.#registry;
    const rest = generations.filter((generation) => generation !== active);
    for (const script of [...rest.flatMap(({ scripts }) => scripts), ...(active?.scripts ?? [])]) {
      script.counters.generation = script.generation;
      script.counters.isDisabled = script.isDisabled;
      script.reportDropped();
    }
    for (const changes of this.#memory.takeMetricChanges()) this.#ports.metrics?.(changes);
    if (this.#rollout.counts !== undefined) this.#ports.canary?.(this.#rollout.counts);
    this.#ports.stats(this.#memory.stats());
  }
}
