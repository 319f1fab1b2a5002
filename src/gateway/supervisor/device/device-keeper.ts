/**
 * Keeps the data plane on a device: tells it when the interface changes, swaps in another one on
 * demand, and makes the interface again when somebody has deleted it.
 */
import { SystemError } from '../../../ffi/errors.ts';
import { Netlink } from '../../../ffi/netlink.ts';
import { Counter, type CounterReader } from '../../../stack/counters.ts';
import type { DeviceConfig } from '../../config/device-schema.ts';
import type { DeviceFacts } from '../../messages/control.ts';
import type { DeviceView } from '../api/device-schemas.ts';
import { CrashPolicy } from '../backoff.ts';
import type { Logger } from '../log/logger.ts';
import { Mutex } from '../mutex.ts';
import type { Notices } from '../notices.ts';
import { StaleChangeError } from '../scripts/change-errors.ts';
import type { Device, NextDevice } from './device.ts';
import { DeviceChangeError } from './device-change.ts';
import { DeviceEvents } from './device-events.ts';
import type { DeviceState } from './device-state.ts';
import { viewDevice, viewState } from './device-view.ts';
import { DeviceWatch, type ErrnoError } from './device-watch.ts';

/** How long the name of the device before may stay in use after it was closed. */
const RENAME_TRIES = 200;
const RENAME_PAUSE_MS = 10;

/** What data planes get of a device. */
export interface DeviceQueues {
  readonly fds: readonly number[];
  readonly facts: DeviceFacts;
}

/** What of the data planes is needed here. */
export interface DevicePlane {
  /**
   * Settles when frames go to the new device.
   *
   * @param next, before  a descriptor for each queue
   * @throws SwapError     they still go to the old one
   */
  swapDevice(next: DeviceQueues, before: DeviceQueues): Promise<void>;
  /** Nothing is routed to the old one any more; settles when the data plane has closed it. */
  releaseDevice(): Promise<void>;
  deviceChanged(facts: DeviceFacts): void;
}

/** The device was not swapped, and the one before is still in use. */
export class SwapError extends Error {
  override readonly name = 'SwapError';
  readonly code: 'DEVICE_REFUSED' | 'DATA_PLANE_NOT_READY';

  constructor(code: SwapError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The first half of a change is done. */
export interface PendingDeviceChange {
  /** The config is in force: takes off what it has no more. */
  finish(): Promise<void>;
  /** The config is refused: takes back what was changed for it. */
  undo(): Promise<void>;
}

export interface DeviceKeeperOptions {
  readonly log: Logger;
  readonly device: Device;
  readonly counters: CounterReader;
  readonly notices: Notices;
  readonly plane: () => DevicePlane | undefined;
  /** The device is gone for good. */
  readonly onFatal: () => void;
  /** It is up again after it was not, or another one is: its routes in other tables are lost. */
  readonly onBack: () => void;
}

export class DeviceKeeper implements Disposable {
  readonly events = new DeviceEvents();
  readonly #options: DeviceKeeperOptions;
  readonly #device: Device;
  readonly #swaps = new Mutex();
  readonly #deletions = new CrashPolicy();
  readonly #watchErrors = new Map<string, number>();
  #watch: DeviceWatch;
  #again: ReturnType<typeof setTimeout> | undefined;
  #hasEnded = false;

  constructor(options: DeviceKeeperOptions) {
    this.#options = options;
    this.#device = options.device;
    this.events.onAdded = (what, state) =>
      options.notices.tell('DEVICE', { what, device: viewState(state) });
    this.#watch = this.#watchDevice();
  }

  /** As it was seen last. */
  get state(): DeviceState {
    return this.#watch.state;
  }

  view(): DeviceView {
    const hasOffload = this.#options.counters.get(Counter.OFFLOAD_NOW) > 0;
    return viewDevice(this.#device, this.events, this.state, hasOffload);
  }

  /** How often the kernel did not tell how the device is, by the name of its error. */
  get watchErrors(): ReadonlyMap<string, number> {
    return this.#watchErrors;
  }

  /** The data plane has noticed something. */
  look(): void {
    this.#watch.look();
  }

  /**
   * Goes on with a new device while flows live.
   *
   * @param name     of the new one; absent: that of the present one
   * @param ifMatch  ETags that the caller accepts; absent: whatever is there
   * @throws SwapError, StaleChangeError  the one before is still in use
   */
  swap(name?: string, ifMatch?: readonly string[]): Promise<void> {
    return this.#swaps.run(async () => {
      if (ifMatch !== undefined && !ifMatch.includes(this.etag)) {
        throw new StaleChangeError(`the device is ${this.etag}, not ${ifMatch.join(' or ')}`);
      }
      await this.#replace(name ?? this.state.name, 'swapped');
    });
  }

  /** Changes with whatever happens to the device. */
  get etag(): string {
    return this.events.etag;
  }

  /**
   * Takes the section `device` of another config, as far as that can change.
   *
   * @throws DeviceChangeError, SwapError  nothing has changed; the same may do later, when the
   *         data planes are not ready
   */
  change(wanted: DeviceConfig): Promise<PendingDeviceChange> {
    const device = this.#device;
    return this.#swaps.run(async () => {
      const change = device.change(wanted, this.state);
      try {
        await this.#reopen();
      } catch (cause) {
        if (!(cause instanceof SwapError)) throw cause;
        await this.#attempt(() => device.undoChange(change));
        if (cause.code === 'DATA_PLANE_NOT_READY') throw cause;
        throw new DeviceChangeError(['device', 'offload'], cause);
      }
      // The data plane is to know before the kernel's own message is here.
      this.look();
      return {
        finish: () => this.#settle(() => device.finishChange(change)),
        undo: () => this.#settle(() => device.undoChange(change)),
      };
    });
  }

  [Symbol.dispose](): void {
    this.#hasEnded = true;
    clearTimeout(this.#again);
    this.#watch[Symbol.dispose]();
  }

  #watchDevice(): DeviceWatch {
    const device = this.#device;
    const { log } = this.#options;
    return new DeviceWatch(device.tun, device.state(), {
      onChange: (state, before) => this.#changed(state, before),
      onGone: (before) => this.#gone(before),
      onTrouble: (error, isFirst) => this.#notSeen(error, isFirst),
      onTroubleOver: () => log.info({ device: this.state.name }, 'device-seen-again'),
    });
  }

  #notSeen({ code, message }: ErrnoError, isFirst: boolean): void {
    this.#watchErrors.set(code, (this.#watchErrors.get(code) ?? 0) + 1);
    if (!isFirst) return;
    // The watch may be in the middle of being made, and has no state to be asked for.
    this.#options.log.warn({ device: this.#device.name(), why: message }, 'device-not-seen');
  }

  #changed(state: DeviceState, before: DeviceState): void {
    const { log, plane } = this.#options;
    const { name, mtu, txQueueLength, isUp, isHere } = state;
    const tell = (event: string, fields: object = {}): void => {
      this.events.add(event, state);
      log.info({ device: name, ...fields }, `device-${event}`);
    };
    if (isHere !== before.isHere) tell(isHere ? 'returned' : 'moved');
    if (name !== before.name) tell('renamed', { before: before.name });
    if (isUp !== before.isUp) tell(isUp ? 'up' : 'down');
    const isKnown = mtu > 0 && before.mtu > 0;
    if (isKnown && mtu !== before.mtu) tell('mtu', { mtu, before: before.mtu });
    if (isKnown && txQueueLength !== before.txQueueLength) {
      tell('queue', { tx_queue_length: txQueueLength, before: before.txQueueLength });
    }
    if (isUp && isHere && !(before.isUp && before.isHere)) {
      this.#refresh();
      this.#options.onBack();
    }
    plane()?.deviceChanged(this.#device.facts(state));
  }

  #refresh(): void {
    try {
      this.#device.refresh();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#options.log.warn(
        { device: this.state.name, why: error.message },
        'device-not-restored',
      );
    }
  }

  #gone(before: DeviceState): void {
    if (this.#hasEnded) return;
    const { log, onFatal } = this.#options;
    const device = this.#device;
    this.events.add('gone', before);
    const delayMs = device.canRecreate ? this.#deletions.crashed(performance.now()) : undefined;
    log.error({ device: before.name, again_in_ms: delayMs }, 'device-gone');
    if (delayMs === undefined) {
      const why = device.isOwn
        ? 'the interface was deleted, and device.recreate is false'
        : 'the interface of a descriptor that was handed over was deleted by its owner';
      log.error({ device: before.name, why }, 'device-lost');
      onFatal();
      return;
    }
    this.#recreateIn(delayMs, before.name);
  }

  #recreateIn(delayMs: number, name: string): void {
    this.#again = setTimeout(() => void this.#recreate(name), delayMs);
  }

  async #recreate(name: string): Promise<void> {
    const { log } = this.#options;
    const device = this.#device;
    try {
      await this.#swaps.run(async () => {
        // Somebody has swapped in another one meanwhile.
        if (this.#hasEnded || device.tun.probe() !== 'gone') return;
        await this.#replace(name, 'recreated');
      });
    } catch (error) {
      if (!(error instanceof SwapError)) throw error;
      const delayMs = this.#deletions.crashed(performance.now()) ?? 0;
      log.warn({ device: name, why: error.message, again_in_ms: delayMs }, 'device-not-recreated');
      this.#recreateIn(delayMs, name);
    }
  }

  /** Offloads are asked for where a device is opened. @throws SwapError */
  async #reopen(): Promise<void> {
    if (!this.#device.isToBeReopened) return;
    if (!this.#device.isOwn) {
      throw new SwapError('DEVICE_REFUSED', 'a descriptor that was handed over stays as it is');
    }
    await this.#replace(this.state.name, 'swapped');
  }

  /** What is left of a change; it is in force, or taken back, whatever the kernel refuses of it. */
  #settle(work: () => void): Promise<void> {
    return this.#swaps.run(async () => {
      await this.#attempt(work);
      await this.#attempt(() => this.#reopen());
      this.look();
    });
  }

  async #attempt(work: () => void | Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof SystemError || error instanceof SwapError)) throw error;
      const { name } = this.state;
      this.#options.log.warn({ device: name, why: error.message }, 'device-not-settled');
    }
  }

  async #replace(name: string, event: string): Promise<void> {
    const { log, plane } = this.#options;
    const device = this.#device;
    const before = this.state.name;
    const next = this.#prepare(name);
    try {
      refusing(() => device.moveRoutes(next));
      const user = plane();
      if (user === undefined) {
        throw new SwapError('DATA_PLANE_NOT_READY', 'the data plane has not started');
      }
      await user.swapDevice(queuesOf(next), { fds: fdsOf(device.tuns), facts: device.facts() });
    } catch (error) {
      this.#abandon(next);
      throw error;
    }
    this.#watch[Symbol.dispose]();
    device.commit(next);
    await plane()?.releaseDevice();
    await this.#rename(next);
    if (this.#hasEnded) return;
    this.#watch = this.#watchDevice();
    plane()?.deviceChanged(device.facts());
    this.events.add(event, this.state);
    log.info({ device: this.state.name, before }, `device-${event}`);
    this.#options.onBack();
  }

  #prepare(name: string): NextDevice {
    try {
      return this.#device.prepare(name, this.state);
    } catch (cause) {
      if (!(cause instanceof SystemError)) throw cause;
      // The only queue of the interface is our own.
      const isOurs = cause.code === 'EBUSY' && name === this.state.name;
      const why = `${name} is persistent and has one queue, which is in use: name another device`;
      throw new SwapError('DEVICE_REFUSED', isOurs ? why : cause.message, { cause });
    }
  }

  #abandon(next: NextDevice): void {
    const { log } = this.#options;
    try {
      this.#device.abandon(next);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      log.error({ err: error }, 'device-routes-lost');
    }
  }

  /** Gives the device its name, once the data plane has closed the one before. */
  async #rename({ tuns, name }: NextDevice): Promise<void> {
    const [tun] = tuns;
    if (tun.name === name) return;
    const { log } = this.#options;
    for (let tries = 1; ; tries++) {
      try {
        using netlink = new Netlink();
        netlink.configureLink(netlink.linkIndex(tun.currentName()), { name });
        return;
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        const isInUse = error.code === 'EEXIST' && tries < RENAME_TRIES;
        if (!isInUse) {
          log.warn({ device: tun.name, wanted: name, why: error.message }, 'device-not-renamed');
          return;
        }
      }
      await Bun.sleep(RENAME_PAUSE_MS);
    }
  }
}

const fdsOf = (tuns: NextDevice['tuns']): number[] => tuns.map(({ fd }) => fd);

const queuesOf = ({ tuns, facts }: NextDevice): DeviceQueues => ({ fds: fdsOf(tuns), facts });

/** @throws SwapError  for what the kernel refuses */
function refusing<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof SystemError)) throw cause;
    throw new SwapError('DEVICE_REFUSED', cause.message, { cause });
  }
}
