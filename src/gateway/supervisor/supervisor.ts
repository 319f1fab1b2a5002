/**
 * The gateway as its operator sees it: owns device, memory and children, and answers the API.
 *
 * A change of config or scripts either happens as a whole or not at all.
 */
import { monotonicNow } from '../../ffi/clock.ts';
import { Counter, Counters } from '../../stack/counters.ts';
import { FlowReader } from '../../stack/layout.ts';
import type { LoadedConfig } from '../config/load.ts';
import { toPlaneBounds, toStartConfig } from '../config/plane.ts';
import { queueLimits } from '../config/queues.ts';
import { watchedFiles } from '../config/watched-files.ts';
import type { FlowContext, FlowNames } from '../flow-filter/flow-context.ts';
import type { LiveConfig, ScriptsState } from '../messages/control.ts';
import type { RecordedFlow } from '../messages/script-control.ts';
import type { ControlPlane, TrialState } from './api/control-plane.ts';
import type { Status } from './api/schemas.ts';
import { buildInfo } from './build-info.ts';
import { ConfigChanges } from './config-changes.ts';
import { ConfigState } from './config-state.ts';
import { DataPlanes } from './data-planes.ts';
import { DeviceKeeper } from './device/device-keeper.ts';
import { offloadNames } from './device/device-view.ts';
import { FlowControl } from './flows/flow-control.ts';
import { replaceHostSockets } from './host-sockets.ts';
import { dataPlaneFds, scriptHostFds } from './kernel.ts';
import { LogLevel } from './log/log-level.ts';
import { CounterSum } from './metrics/counter-sum.ts';
import { flowTraffic } from './metrics/flow-samples.ts';
import { renderMetrics } from './metrics/metrics.ts';
import { countReasons } from './metrics/reason-counts.ts';
import { Mutex } from './mutex.ts';
import { Notices } from './notices.ts';
import { Resolver } from './resolver.ts';
import { type Explanation, explain, explainNotes } from './scripts/explain.ts';
import type { Change, ChangeOptions, Generations } from './scripts/generations.ts';
import { pageOf } from './scripts/host-process.ts';
import type { ReloadRecord } from './scripts/reloads.ts';
import { Revalidation, type RevalidationPorts } from './scripts/revalidation.ts';
import {
  configuredChange,
  type NewBundle,
  type NewScript,
  ScriptChanges,
} from './scripts/script-changes.ts';
import { ScriptHost } from './scripts/script-host.ts';
import { scriptStatus } from './scripts/script-status.ts';
import { Trials } from './scripts/trials.ts';
import { gatewayStatus, notReadyReasons } from './status.ts';
import type { SupervisorOptions } from './supervisor-options.ts';
import { UpstreamStates } from './upstream-states.ts';

const STOP_DELAY_MS = 50;

export class Supervisor implements ControlPlane {
  readonly flows: FlowControl;
  readonly logLevel: LogLevel;
  readonly notices = new Notices();
  readonly configChanges: ConfigChanges;
  readonly device: DeviceKeeper;
  readonly #options: SupervisorOptions;
  readonly #counters: CounterSum;
  /** By queue. */
  readonly #queues: readonly Counters[];
  readonly #scriptHost: ScriptHost;
  readonly #trials: Trials;
  readonly #resolver = new Resolver();
  readonly #changes: ScriptChanges;
  readonly #generations: Generations;
  readonly config: ConfigState;
  readonly #upstreams = new UpstreamStates();
  readonly #startedAt = Date.now();
  readonly #explaining = new Mutex();
  #dataPlane: DataPlanes | undefined;
  #scriptsState: ScriptsState = { state: 'none', epoch: 0 };
  #isDraining = false;

  constructor(options: SupervisorOptions) {
    const { log, kernel, loaded } = options;
    this.#options = options;
    this.config = new ConfigState(loaded);
    this.logLevel = new LogLevel(log, loaded.config.log.level);
    this.#queues = kernel.queues.map(({ counters }) => new Counters(counters.buffer));
    this.#counters = new CounterSum(this.#queues);
    const states = kernel.queues.map(({ state }) => state.buffer);
    this.flows = new FlowControl({
      ...{ log, notices: this.notices },
      reader: new FlowReader(states, queueLimits(loaded.config)),
      limit: () => this.#counters.get(Counter.FLOWS_LIMIT_NOW),
      lostReports: () => this.#counters.get(Counter.REPORTS_LOST),
      ...{ context: () => this.#flowContext(), mtu: () => this.device.state.mtu },
      kill: async (flows) => (await this.#dataPlane?.kill(flows)) ?? 0,
      inspect: async (flows) => (await this.#dataPlane?.inspect(flows)) ?? [],
      rings: kernel.queues.map(({ capture }) => capture.buffer),
      notes: kernel.hostPages.map(({ buffer }) => buffer),
      lostCaptured: () => this.#counters.get(Counter.CAPTURE_LOST),
      capture: (orders) => this.#dataPlane?.setCaptures(orders),
    });
    this.device = new DeviceKeeper({
      ...{ log, device: kernel.device, counters: this.#counters, notices: this.notices },
      plane: () => this.#dataPlane,
      ...{ onFatal: options.onFatal, onBack: options.onDeviceBack },
    });
    this.#scriptHost = new ScriptHost({
      log,
      fds: () => scriptHostFds(kernel),
      pages: [pageOf(kernel.hostPages[0]), pageOf(kernel.hostPages[1])],
      iface: () => this.device.state.name,
      facts: () => this.config.facts,
      monotonicUs: monotonicNow,
      replayFlows: () => this.config.config.scripts.reload.replay,
      drainMs: () => this.config.config.scripts.reload.drain,
      onCanary: (counts) => this.#trials.onCanary(counts),
      onDecided: (flows, left) => this.#trials.onDecided(flows, left),
      onLost: (why) => this.#trials.onHostLost(why),
      onState: (state) => {
        this.#scriptsState = state;
        this.#dataPlane?.setScripts(state);
      },
    });
    this.#trials = new Trials({
      log,
      host: this.#scriptHost,
      onStopped: (generation) => this.#generations.trialStopped(generation),
      onPassed: () => this.#changes.promotePassed(),
    });
    this.#changes = new ScriptChanges({
      log,
      activator: this.#scriptHost,
      trials: this.#trials,
      revalidation: (generation, mode) =>
        new Revalidation(this.#revalidationPorts, generation, mode),
      onDiskChange: (change) => this.configChanges.isNews(change) && this.reloadAsConfigured(),
      loaded,
      notices: this.notices,
      historyFolder: options.historyFolder,
    });
    this.#scriptHost.accounts.onLimit = (script, limit, hits) =>
      this.notices.tell('LIMIT', { script, limit, hits });
    this.#generations = this.#changes.generations;
    this.configChanges = new ConfigChanges({
      log,
      notices: this.notices,
      state: this.config,
      scripts: this.#changes,
      started: loaded,
      ...options.configSource,
      kernel: { device: this.device, followers: options.followers },
      announce: (live) => this.#tellConfig(live),
      onTaken: (next, live) => this.#taken(next, live),
    });
  }

  /**
   * Loads the scripts and starts the data plane; settles when packets are answered.
   *
   * @throws ConfigError, BundleRejectedError  nothing runs then
   */
  async start(): Promise<void> {
    const { kernel, loaded, log } = this.#options;
    await this.#changes.start(loaded);
    this.#watchDisk(loaded);
    // Last, so that the first SYN meets the scripts; until then the device keeps what comes.
    this.#startDataPlane();
    await this.#dataPlane?.untilReady();
    void this.configChanges.save();
    const { name: device, vnetHeader: vnet_header } = kernel.device.tun;
    const offloads = offloadNames(kernel.device.tun.offloads).join();
    log.info({ device, vnet_header, offloads, pid: process.pid, ...buildInfo }, 'ready');
  }

  /** Takes no new flow, waits for the live ones; the number of flows that had to be cut. */
  async drain(deadlineMs: number, stays = false): Promise<number> {
    this.#isDraining = true;
    const flows = this.#counters.get(Counter.FLOWS_NOW);
    this.#options.log.info({ deadline_ms: deadlineMs, flows }, 'draining');
    return (await this.#dataPlane?.drain(deadlineMs, stays)) ?? 0;
  }

  beginDrain(deadlineMs = this.config.config.drain): number {
    void this.drain(deadlineMs, true);
    return deadlineMs;
  }

  beginStop(deadlineMs = this.config.config.drain): number {
    // The answer to whoever asked goes first.
    setTimeout(() => this.#options.onStop(deadlineMs), STOP_DELAY_MS);
    return deadlineMs;
  }

  /** Ends the children at once. @param forced  the config that is being saved is not waited for */
  async stop(forced?: Promise<unknown>): Promise<void> {
    this.#isDraining = true;
    this.device[Symbol.dispose]();
    this.flows.close();
    this.#changes.close();
    const saved = this.configChanges.saved(forced);
    await Promise.all([this.#dataPlane?.stop(), this.#scriptHost.stop(), saved]);
  }

  get upstreams() {
    return this.#upstreams.of(this.config.config);
  }

  traffic() {
    return flowTraffic(this.#counters);
  }

  get activeGeneration() {
    return this.#generations.active;
  }

  get generations() {
    return this.#generations.history;
  }

  get etag(): string {
    return this.#generations.etag;
  }

  /** @throws TooManyReloadsError */
  reloadAsConfigured(): ReloadRecord {
    return this.startReload(configuredChange(this.config.loaded));
  }

  startReload(options: ChangeOptions): ReloadRecord {
    const record = this.#changes.startReload(options, (given) => this.configChanges.reload(given));
    this.#options.onReload(record);
    return record;
  }

  get reloads(): readonly ReloadRecord[] {
    return this.#changes.reloads.all;
  }

  findReload(id: string): ReloadRecord {
    return this.#changes.reloads.get(id);
  }

  putScript(script: NewScript, options: ChangeOptions): Promise<Change> {
    return this.#changes.put(script, options);
  }

  putBundle(bundle: NewBundle, options: ChangeOptions): Promise<Change> {
    return this.#changes.putAll(bundle, options);
  }

  removeScript(name: string, options: ChangeOptions): Promise<Change> {
    return this.#changes.remove(name, options);
  }

  rollback(to: number | undefined, options: ChangeOptions): Promise<Change> {
    return this.#changes.rollback(to, options);
  }

  get canaryDefaults() {
    return this.config.config.scripts.reload.canary;
  }

  get trial(): TrialState | undefined {
    const trial = this.#generations.trial;
    return trial && { ...trial, report: this.#trials.report };
  }

  promote(options: Pick<ChangeOptions, 'ifMatch'>): Promise<Change> {
    return this.#changes.promote(options);
  }

  abortTrial(options: Pick<ChangeOptions, 'ifMatch'>): Promise<Change> {
    return this.#changes.abortTrial(options);
  }

  /** One process at a time is enough for questions. */
  explain(flow: RecordedFlow): Promise<Explanation> {
    return this.#explaining.run(() =>
      explain(flow, {
        live: this.config.live,
        generation: this.#generations.active,
        aside: { ...this.#scriptHost.asideOptions(), disabled: this.#scriptHost.disabled },
        notes: explainNotes(this.#scriptHost.state, this.#generations.trial, this.config.live),
      }),
    );
  }

  drops() {
    return countReasons(this.#counters);
  }

  notReady(): readonly string[] {
    return notReadyReasons({
      isDraining: this.#isDraining,
      dataPlanes: this.#dataPlane,
      device: this.#options.kernel.device.tun.probe(),
      scriptHost: this.#scriptHost,
      scripts: this.#scriptStatus(),
    });
  }

  metrics(): string {
    return renderMetrics({
      counters: this.#counters,
      queues: this.#queues,
      device: { events: this.device.events.counts, watchErrors: this.device.watchErrors },
      ...{ reloads: this.#changes.outcomes, active: this.#generations.active },
      ...{ trials: this.#trials.outcomes, trial: this.#trials.report },
      accounts: this.#scriptHost.accounts,
      census: this.flows.live.census(),
      scriptHost: this.#scriptHost,
      dataPlaneRestarts: this.#dataPlane?.restarts ?? 0,
      ...{ durations: this.flows.ended.durations, notesLost: this.flows.notesLost },
      upstreams: this.upstreams,
      connectTimes: (name) => this.#upstreams.connectTimes(name),
    });
  }

  status(): Status {
    return gatewayStatus({
      isDraining: this.#isDraining,
      notReady: this.notReady(),
      startedAt: this.#startedAt,
      loaded: this.config.loaded,
      configGeneration: this.config.generation,
      device: this.device.view(),
      counters: this.#counters,
      dataPlanes: this.#dataPlane,
      scriptHost: this.#scriptHost,
      generation: this.#generations.active,
      scripts: this.#scriptStatus(),
      upstreams: this.upstreams,
    });
  }

  get #revalidationPorts(): RevalidationPorts {
    return {
      log: this.#options.log,
      live: this.flows.live,
      resolver: this.#resolver,
      kill: async (flows) => (await this.#dataPlane?.kill(flows, true)) ?? 0,
      asideOptions: () => this.#scriptHost.asideOptions(),
    };
  }

  #startDataPlane(): void {
    const { log, kernel, loaded, onFatal } = this.#options;
    this.#dataPlane = new DataPlanes({
      start: toStartConfig(loaded.config, kernel.device.facts()),
      ...{ log, bounds: toPlaneBounds(loaded.config) },
      ...{ live: this.config.nextLive(), scripts: this.#scriptsState },
      queues: this.#queues.map((counters, index) => ({
        fds: dataPlaneFds(kernel, index),
        handover: kernel.queues[index]!.handover[0],
        loopTurns: () => counters.get(Counter.LOOP_TURNS),
      })),
      onDeviceState: () => this.device.look(),
      onFlowRows: (rows) => this.#takeEnded(rows),
      onUpstreams: (queue, reports) => this.#upstreams.take(queue, reports),
      replaceHostSockets: () => replaceHostSockets(kernel.queues, this.#scriptHost),
      onGivenUp: onFatal,
    });
  }

  #takeEnded(rows: Uint8Array): void {
    this.flows.takeEnded(rows, this.config.config.log.flows);
    this.#scriptHost.accounts.closed.take(rows, this.#flowNames(), this.flows.noteOf);
  }

  #watchDisk(loaded: LoadedConfig): void {
    const files = this.#options.configSource.files();
    this.#changes.watchDisk(loaded.config.scripts.reload.watch ? watchedFiles(loaded, files) : []);
  }

  #flowNames = (): FlowNames =>
    this.config.names.ofFlows((...of) => this.#generations.scriptName(...of));

  #taken(next: LoadedConfig, live: LiveConfig | undefined): void {
    this.#watchDisk(next);
    this.#dataPlane?.setBounds(toPlaneBounds(next.config));
    this.#tellConfig(live);
    this.logLevel.configure(next.config.log.level);
    this.#options.logStyle.configure(next.config.log);
  }

  #tellConfig(live: LiveConfig | undefined): void {
    if (live === undefined) return;
    this.#dataPlane?.configure(live);
    this.#scriptHost.tellFacts();
  }

  #scriptStatus(): Status['scripts'] {
    const { accounts, disabled } = this.#scriptHost;
    return scriptStatus(this.#generations.active, (name) => accounts.totals.of(name), disabled);
  }

  #flowContext(): FlowContext {
    const iface = this.device.state.name;
    return { names: this.#flowNames(), iface, nowUs: monotonicNow(), nowMs: Date.now() };
  }
}
