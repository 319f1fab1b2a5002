/**
 * The data planes of the gateway, one for each queue of the device, as if they were one: each is
 * told its share of the configuration, and each is replaced by itself when it dies.
 */
import { boundsOfQueue, liveOfQueue, startOfQueue } from '../config/queues.ts';
import type {
  CaptureOrder,
  DeviceFacts,
  FlowRef,
  LiveConfig,
  PlaneBounds,
  ScriptsState,
  StartConfig,
} from '../messages/control.ts';
import type { UpstreamReport } from '../messages/upstreams.ts';
import { DataPlane, type DataPlaneOptions, type Sockets } from './data-plane.ts';
import { type DevicePlane, type DeviceQueues, SwapError } from './device/device-keeper.ts';
import { HostSocketRenewal } from './host-socket-renewal.ts';
import type { HostSocketFds } from './host-sockets.ts';

export interface DataPlanesOptions
  extends Pick<DataPlaneOptions, 'log' | 'onDeviceState' | 'onFlowRows' | 'onGivenUp' | 'command'> {
  readonly start: StartConfig;
  /** Of all queues together, but for `limits`, which are of each. */
  readonly bounds: PlaneBounds;
  readonly live: LiveConfig;
  readonly scripts: ScriptsState;
  readonly onUpstreams?: (queue: number, upstreams: readonly UpstreamReport[]) => void;
  /** A script host has shut one down: makes others. @returns those of the data planes */
  readonly replaceHostSockets: () => readonly HostSocketFds[];
  /** By queue. */
  readonly queues: readonly Pick<DataPlaneOptions, 'fds' | 'handover' | 'loopTurns'>[];
}

export class DataPlanes implements DevicePlane {
  readonly #planes: readonly DataPlane[];
  readonly #rowsEach: number;
  readonly #renewal: HostSocketRenewal;

  constructor(all: DataPlanesOptions) {
    const { queues, start, bounds, live, onUpstreams, replaceHostSockets, ...options } = all;
    const count = queues.length;
    const [low, high] = crypto.getRandomValues(new Uint32Array(2));
    const hashSecret = [low!, high!] as const;
    this.#rowsEach = start.limits.flows;
    this.#renewal = new HostSocketRenewal({
      log: options.log,
      make: replaceHostSockets,
      pass: (sockets) => this.#setHostSockets(sockets),
    });
    this.#planes = queues.map(
      (queue, index) =>
        new DataPlane({
          ...options,
          ...queue,
          onUpstreams: (upstreams) => onUpstreams?.(index, upstreams),
          onHostSocketShut: (socket) => {
            options.log.error({ queue: index, socket }, 'script-socket-shut');
            this.#renewal.run();
          },
          start: startOfQueue(start, { index, count, hashSecret }),
          bounds: boundsOfQueue(bounds, count),
          live: liveOfQueue(live, index, count),
        }),
    );
  }

  /** Of the processes that run. */
  get pids(): readonly number[] {
    return this.#planes.flatMap(({ pid }) => pid ?? []);
  }

  get isReady(): boolean {
    return this.#planes.every((plane) => plane.isReady);
  }

  get isStuck(): boolean {
    return this.#planes.some((plane) => plane.isStuck);
  }

  get restarts(): number {
    return this.#planes.reduce((sum, { restarts }) => sum + restarts, 0);
  }

  /** Settles when all run their loops for the first time. */
  async untilReady(): Promise<void> {
    await Promise.all(this.#planes.map(({ ready }) => ready));
  }

  configure(live: LiveConfig): void {
    const { length } = this.#planes;
    for (const [index, plane] of this.#planes.entries()) {
      plane.configure(liveOfQueue(live, index, length));
    }
  }

  /** @param bounds  of all queues together, but for `limits`, which are of each */
  setBounds(bounds: PlaneBounds): void {
    const share = boundsOfQueue(bounds, this.#planes.length);
    for (const plane of this.#planes) plane.setBounds(share);
  }

  setScripts(scripts: ScriptsState): void {
    for (const plane of this.#planes) plane.setScripts(scripts);
  }

  /** One after the other: those that have swapped swap back when one of them cannot. */
  async swapDevice(next: DeviceQueues, before: DeviceQueues): Promise<void> {
    const swapped: number[] = [];
    try {
      for (const [index, plane] of this.#planes.entries()) {
        await plane.swapDevice(next.fds[index]!, next.facts);
        swapped.push(index);
      }
    } catch (error) {
      await Promise.all(swapped.map((index) => this.#swapBack(index, before)));
      throw error;
    }
  }

  async releaseDevice(): Promise<void> {
    await Promise.all(this.#planes.map((plane) => plane.releaseDevice()));
  }

  deviceChanged(facts: DeviceFacts): void {
    for (const plane of this.#planes) plane.deviceChanged(facts);
  }

  #setHostSockets(sockets: readonly HostSocketFds[]): void {
    for (const [index, plane] of this.#planes.entries()) plane.setHostSockets(sockets[index]!);
  }

  /** A data plane that cannot is replaced by one that begins with the device before. */
  async #swapBack(index: number, { fds, facts }: DeviceQueues): Promise<void> {
    const plane = this.#planes[index]!;
    try {
      await plane.swapDevice(fds[index]!, facts);
      await plane.releaseDevice();
    } catch (error) {
      if (!(error instanceof SwapError)) throw error;
      plane.replaceOn(fds[index]!, facts);
    }
  }

  /** Ends flows, whose rows are numbered through all queues; see `DataPlane.kill`. */
  async kill(flows: readonly FlowRef[], isReload = false): Promise<number> {
    const killed = this.#planes.map((plane, index) => {
      const own = this.#ownOf(index, flows);
      return own.length === 0 ? 0 : plane.kill(own, isReload);
    });
    return sum(await Promise.all(killed));
  }

  /** What the kernel knows of the upstream sockets of flows; see `DataPlane.inspect`. */
  async inspect(flows: readonly FlowRef[]): Promise<Sockets> {
    const inspected = this.#planes.map((plane, index) => {
      const own = this.#ownOf(index, flows);
      return own.length === 0 ? [] : plane.inspect(own);
    });
    return (await Promise.all(inspected)).flat();
  }

  setCaptures(orders: readonly CaptureOrder[]): void {
    for (const plane of this.#planes) plane.setCaptures(orders);
  }

  /** The number of flows that had to be cut; `stays` as of `DataPlane.drain`. */
  async drain(deadlineMs: number, stays: boolean): Promise<number> {
    return sum(await Promise.all(this.#planes.map((plane) => plane.drain(deadlineMs, stays))));
  }

  async stop(): Promise<void> {
    this.#renewal[Symbol.dispose]();
    await Promise.all(this.#planes.map((plane) => plane.stop()));
  }

  /** Those of one queue, with the numbers of their rows there. */
  #ownOf(index: number, flows: readonly FlowRef[]): FlowRef[] {
    const from = index * this.#rowsEach;
    return flows
      .filter(({ row }) => row >= from && row < from + this.#rowsEach)
      .map(({ row, serial }) => ({ row: row - from, serial }));
  }
}

const sum = (counts: readonly number[]): number =>
  counts.reduce((total, count) => total + count, 0);
