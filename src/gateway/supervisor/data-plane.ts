/**
 * Keeps one data plane running. Its device and its memory belong to the supervisor, so that a
 * process that died is replaced by one on the same state: its flows are reset, no client hangs.
 */
import {
  type CaptureOrder,
  DataPlaneFd,
  type DeviceFacts,
  type FlowRef,
  type FromDataPlane,
  type HostSocket,
  type LiveConfig,
  type PlaneBounds,
  type ScriptsState,
  type StartConfig,
  type ToDataPlane,
} from '../messages/control.ts';
import type { UpstreamReport } from '../messages/upstreams.ts';
import { CrashPolicy } from './backoff.ts';
import { Child, type ChildExit, selfCommand } from './child.ts';
import { parseFromDataPlane } from './child-messages.ts';
import { DeviceHandover } from './device/device-handover.ts';
import { SwapError } from './device/device-keeper.ts';
import { HostSocketHandover } from './host-socket-handover.ts';
import type { HostSocketFds } from './host-sockets.ts';
import type { Logger } from './log/logger.ts';
import { Mutex } from './mutex.ts';
import { PendingAnswers } from './pending-answers.ts';

/** Crashes within a minute after which the gateway ends: something is broken for good. */
const CRASHES_MAX = 8;
/** How long a kill may take; the loop of the data plane turns in microseconds. */
const KILL_TIMEOUT_MS = 2_000;
const INSPECT_TIMEOUT_MS = 1_000;
/**
 * Flows of one message. To end one costs some 45 µs, most of it in the kernel, which closes the
 * upstream socket and takes the reset: so the others wait for one or two milliseconds at most.
 */
const KILL_BATCH = 32;
/** How often to look whether the loop turns: it does at least once a second. */
const LOOK_PERIOD_MS = 1_000;
/**
 * Looks without a turn after which the process is stuck. Looks are counted, not time: a machine
 * that slept gives its first look before the data plane had its first turn.
 */
const LOOKS_MAX = 5;
/** As long as it starts: it clears its memory first, and a busy machine takes its time. */
const LOOKS_MAX_AT_START = 30;
/** Beyond the drain deadline: for a data plane that does not answer at all. */
const DRAIN_GRACE_MS = 2_000;

export type Sockets = Extract<FromDataPlane, { kind: 'inspected' }>['sockets'];

export interface DataPlaneOptions {
  readonly log: Logger;
  readonly start: StartConfig;
  readonly bounds: PlaneBounds;
  readonly live: LiveConfig;
  readonly scripts: ScriptsState;
  /** As DataPlaneFd orders them, that of the device first. */
  readonly fds: readonly number[];
  /** Our end of what is HANDOVER there. */
  readonly handover: number;
  /** A script host has shut down a socket to this data plane. */
  readonly onHostSocketShut: (socket: HostSocket) => void;
  /** Reads or writes have shown that the device is up, down or gone. */
  readonly onDeviceState: () => void;
  /** Turns of the loop so far, from the counters. */
  readonly loopTurns: () => number;
  readonly onFlowRows: (rows: Uint8Array) => void;
  readonly onUpstreams?: (upstreams: readonly UpstreamReport[]) => void;
  /** It crashed too often. */
  readonly onGivenUp: () => void;
  readonly command?: readonly string[];
  readonly lookPeriodMs?: number;
  /** How long it may take to answer when a device, or sockets, are handed over. */
  readonly answerTimeoutMs?: number;
}

export class DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #handover: DeviceHandover;
  readonly #hostSockets: HostSocketHandover;
  /** One device at a time is handed over. */
  readonly #swaps = new Mutex();
  /** It uses a device that was given up, as its answer came late. */
  #isAstray = false;
  /** Why it is to end: no crash then. */
  #replacedFor: string | undefined;
  #start: StartConfig;
  #bounds: PlaneBounds;
  #fds: readonly number[];
  readonly #crashes = new CrashPolicy(CRASHES_MAX);
  readonly #kills = new PendingAnswers<number | undefined>();
  readonly #inspections = new PendingAnswers<Sockets>();
  #child: Child | undefined;
  #live: LiveConfig;
  #scripts: ScriptsState;
  #captures: readonly CaptureOrder[] = [];
  #ready = Promise.withResolvers<void>();
  /** The process has not ended. */
  #isRunning = false;
  #isReady = false;
  #wasReady = false;
  #isStopping = false;
  #isStuck = false;
  #turns = 0;
  #looks = 0;
  #watch: ReturnType<typeof setInterval> | undefined;
  #drained: ((cut: number) => void) | undefined;
  #drainEndsAt: number | undefined;
  #staysDrained = false;
  restarts = 0;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
    this.#start = options.start;
    this.#bounds = options.bounds;
    this.#fds = options.fds;
    const { handover: socket, answerTimeoutMs } = options;
    const send = this.#send.bind(this);
    this.#handover = new DeviceHandover(socket, send, answerTimeoutMs);
    this.#hostSockets = new HostSocketHandover({
      ...{ socket, send, answerTimeoutMs },
      onShut: options.onHostSocketShut,
      onFailed: (why) => this.#replace(why),
    });
    this.#live = options.live;
    this.#scripts = options.scripts;
    this.#spawn();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** The loop stood still, and the process that replaces it is not ready yet. */
  get isStuck(): boolean {
    return this.#isStuck;
  }

  /** Settles when the first process runs its loop. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  configure(live: LiveConfig): void {
    this.#live = live;
    this.#send({ kind: 'configure', live });
  }

  /** Bounds of another config; memory stays as it was laid out. */
  setBounds(bounds: PlaneBounds): void {
    if (Bun.deepEquals(bounds, this.#bounds)) return;
    this.#bounds = bounds;
    this.#send({ kind: 'bounds', ...bounds });
  }

  setScripts(scripts: ScriptsState): void {
    this.#scripts = scripts;
    this.#send({ kind: 'scripts', scripts });
  }

  /** What the kernel knows of upstream sockets; nothing of a data plane that does not answer. */
  inspect(flows: readonly FlowRef[]): Promise<Sockets> {
    const ask = (id: number) => this.#send({ kind: 'inspect', id, flows });
    return this.#inspections.ask(ask, INSPECT_TIMEOUT_MS, []);
  }

  /** Goes on with these; those before are of no use. */
  setHostSockets(sockets: HostSocketFds): void {
    const { TUN: first, SCRIPTS, CONNS } = DataPlaneFd;
    this.#fds = this.#fds
      .with(SCRIPTS - first, sockets.decisions)
      .with(CONNS - first, sockets.conns);
    this.#hostSockets.pass(sockets);
  }

  setCaptures(orders: readonly CaptureOrder[]): void {
    this.#captures = orders;
    this.#send({ kind: 'captures', orders });
  }

  /** Settles when frames go to the new device. @throws SwapError  they still go to the old one */
  swapDevice(fd: number, device: DeviceFacts): Promise<void> {
    return this.#swaps.run(async () => {
      if (!this.#isReady) {
        throw new SwapError('DATA_PLANE_NOT_READY', 'the data plane does not run');
      }
      await this.#handover.pass(fd, device);
      this.#isAstray = false;
      this.#beginWith(fd, device);
    });
  }

  /** Ends the process; the one in its place begins with this device. */
  replaceOn(fd: number, device: DeviceFacts): void {
    this.#beginWith(fd, device);
    this.#replace('it does not go back to the device before');
  }

  /** Nothing is routed to the old one any more; settles when it is closed there. */
  releaseDevice(): Promise<void> {
    return this.#swaps.run(() => this.#handover.release());
  }

  deviceChanged(device: DeviceFacts): void {
    this.#start = { ...this.#start, device };
    this.#send({ kind: 'device-changed', name: device.name, mtu: device.mtu });
  }

  /**
   * Ends flows, a batch after the other; how many of them were not gone already. A data plane that
   * does not answer is not asked for the rest.
   *
   * @param isReload  scripts that were loaded would decide otherwise about them
   */
  async kill(flows: readonly FlowRef[], isReload = false): Promise<number> {
    let killed = 0;
    for (let from = 0; from < flows.length; from += KILL_BATCH) {
      const count = await this.#kill(flows.slice(from, from + KILL_BATCH), isReload);
      if (count === undefined) break;
      killed += count;
    }
    return killed;
  }

  /**
   * Takes no new flow and waits for the last one; the number of flows that had to be cut.
   *
   * @param stays  the process goes on then, and refuses what comes
   */
  async drain(deadlineMs: number, stays = false): Promise<number> {
    if (!this.#wasReady) return 0;
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#drained = resolve;
    this.#drainEndsAt = Date.now() + deadlineMs;
    this.#staysDrained = stays;
    this.#send({ kind: 'drain', deadlineMs, stays });
    // A data plane that says nothing had at least one flow that it did not end.
    const timer = setTimeout(() => resolve(1), deadlineMs + DRAIN_GRACE_MS);
    const cut = await promise;
    clearTimeout(timer);
    return cut;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#watch);
    this.#child?.kill();
    await this.#child?.exited;
  }

  /** A data plane that takes the place of this one begins with the device. */
  #beginWith(fd: number, device: DeviceFacts): void {
    this.#start = { ...this.#start, device };
    this.#fds = [fd, ...this.#fds.slice(1)];
  }

  #spawn(): void {
    const { onFlowRows, command = selfCommand('__data-plane') } = this.#options;
    this.#child = new Child(command, this.#fds, {
      onMessage: (message) => this.#receive(parseFromDataPlane(message)),
      onFlowRows,
      onExit: (exit) => this.#exited(exit),
    });
    this.#isRunning = true;
    this.#hostSockets.started();
    this.#looks = 0;
    this.#watch = setInterval(() => this.#look(), this.#options.lookPeriodMs ?? LOOK_PERIOD_MS);
    const [start, bounds] = [this.#start, this.#bounds];
    this.#send({ kind: 'start', start, bounds, live: this.#live, scripts: this.#scripts });
    if (this.#captures.length > 0) this.setCaptures(this.#captures);
    if (this.#drainEndsAt !== undefined) {
      const deadlineMs = Math.max(0, this.#drainEndsAt - Date.now());
      this.#send({ kind: 'drain', deadlineMs, stays: this.#staysDrained });
    }
  }

  /** Kills a process whose loop does not turn: one that replaces it resets flows that hang. */
  #look(): void {
    const turns = this.#options.loopTurns();
    this.#looks = turns === this.#turns ? this.#looks + 1 : 0;
    this.#turns = turns;
    if (this.#looks < (this.#isReady ? LOOKS_MAX : LOOKS_MAX_AT_START)) return;
    clearInterval(this.#watch);
    this.#isStuck = true;
    this.#options.log.error({ pid: this.pid, turns }, 'data-plane-stuck');
    this.#child?.kill();
  }

  #kill(flows: readonly FlowRef[], isReload: boolean): Promise<number | undefined> {
    const ask = (id: number) =>
      this.#send({ kind: 'kill', id, flows, ...(isReload ? { isReload } : {}) });
    return this.#kills.ask(ask, KILL_TIMEOUT_MS, undefined);
  }

  #send(message: ToDataPlane): void {
    this.#child?.send(message);
  }

  #receive(message: FromDataPlane): void {
    switch (message.kind) {
      case 'ready':
        this.#isReady = true;
        this.#isStuck = false;
        this.#wasReady = true;
        this.#hostSockets.ready();
        this.#ready.resolve();
        break;
      case 'killed':
        this.#kills.answered(message.id, message.count);
        break;
      case 'inspected':
        this.#inspections.answered(message.id, message.sockets);
        break;
      case 'drained':
        this.#drained?.(message.cut);
        break;
      case 'upstreams':
        this.#options.onUpstreams?.(message.upstreams);
        break;
      case 'device':
        if (this.#handover.answered(message.id, message.error)) break;
        this.#isAstray = true;
        void this.#swaps.run(() => this.#callBack());
        break;
      case 'device-released':
        this.#handover.released();
        break;
      case 'host-socket-shut':
        this.#hostSockets.shut(message.socket);
        break;
      case 'host-sockets':
        this.#hostSockets.answered(message);
        break;
      case 'device-state':
        this.#options.onDeviceState();
        break;
      case 'log':
        this.#options.log[message.level](message.fields, message.event);
        break;
    }
  }

  /** Has it go back to the device that is in use, and flows live on. */
  async #callBack(): Promise<void> {
    // Meanwhile it may have taken another one, or have ended.
    if (!this.#isAstray) return;
    try {
      await this.#handover.pass(this.#fds[0]!, this.#start.device);
      this.#isAstray = false;
      await this.#handover.release();
    } catch (error) {
      if (!(error instanceof SwapError)) throw error;
      this.#replace(error.message);
    }
  }

  /** Another one begins with the device that is the right one. */
  #replace(why: string): void {
    if (!this.#isRunning) return;
    this.#replacedFor = why;
    this.#child?.kill();
  }

  #exited({ code, signal, protocolError }: ChildExit): void {
    const why = this.#replacedFor;
    this.#replacedFor = undefined;
    this.#isReady = this.#isRunning = this.#isAstray = false;
    this.#handover.lost();
    this.#hostSockets.ended();
    clearInterval(this.#watch);
    if (this.#isStopping) return;
    const { log, onGivenUp } = this.#options;
    if (why !== undefined) {
      log.warn({ why }, 'data-plane-replaced');
      this.restarts++;
      this.#spawn();
      return;
    }
    const delayMs = this.#crashes.crashed(performance.now());
    log.error({ code, signal, err: protocolError, restart_in_ms: delayMs }, 'data-plane-exited');
    if (delayMs === undefined) {
      onGivenUp();
      return;
    }
    setTimeout(() => {
      if (this.#isStopping) return;
      this.restarts++;
      this.#spawn();
    }, delayMs);
  }
}
