/**
 * The device as the stack's sink, and its health: an offload that the kernel refuses is given up,
 * a device that is down is known as such, and one that was deleted is left alone until the
 * supervisor hands over another (device-swap.ts). What errors mean is in tun-errors.ts.
 */
import { type Epoll, EpollEvent } from '../../../ffi/epoll.ts';
import type { SharedMemory } from '../../../ffi/memory.ts';
import type { TunDevice } from '../../../ffi/tun-device.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import type { DeviceCapabilities, FrameSink } from '../../../stack/device.ts';
import type { Instant } from '../../../stack/time.ts';
import { gsoSize } from '../../../stack/wire/virtio-net.ts';
import type { Reports } from '../reports.ts';
import { readFaultCounter, TunFault, tunFault, writeFaultCounter } from './tun-errors.ts';

/** How often a device that is down is asked whether it is up again. */
const PROBE_INTERVAL_US = 500_000;
/** Superframes refused in a row before segmentation is given up. */
const REFUSALS_BEFORE_DOWNGRADE = 3;
/** Frames that cannot be read, one after the other, before the loop looks after the others. */
const READ_FAULTS_MAX = 16;

/** What of a device is needed here; a test has one that fails as it likes. */
export type TunHandle = Pick<TunDevice, 'fd' | 'read' | 'write' | 'probe'>;

export interface TunPortParts {
  readonly device: TunHandle;
  readonly capabilities: DeviceCapabilities;
  /** The arena's, in which frames lie. */
  readonly memory: Pick<SharedMemory, 'buffer' | 'address'>;
  readonly counters: Counters;
  readonly reports: Reports;
}

export class TunPort implements FrameSink {
  /** Changed in place when the device is swapped or refuses something: the stack has it too. */
  readonly capabilities: DeviceCapabilities;
  readonly #view: DataView;
  readonly #base: number;
  readonly #counters: Counters;
  readonly #reports: Reports;
  #device: TunHandle;
  #epoll: Epoll | undefined;
  #token = 0;
  #isUp = true;
  #isGone = false;
  #probedAt = 0;
  #refusals = 0;

  constructor({ device, capabilities, memory, counters, reports }: TunPortParts) {
    this.#device = device;
    this.capabilities = capabilities;
    this.#view = new DataView(memory.buffer);
    this.#base = memory.address;
    this.#counters = counters;
    this.#reports = reports;
    this.#start();
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  get vnetHeader(): boolean {
    return this.capabilities.vnetHeader;
  }

  /** Has the loop woken when there is something to read, as long as the device is there. */
  watch(epoll: Epoll, token: number): void {
    this.#epoll = epoll;
    this.#token = token;
    epoll.add(this.#device.fd, EpollEvent.IN, token);
  }

  /**
   * Goes on with another device. What it can do takes effect with the next frame, segmentation that
   * was given up included. @returns the device before, still open, watched no more
   */
  swap(device: TunHandle, capabilities: DeviceCapabilities): TunHandle {
    const before = this.#device;
    // Gone, it is not watched any more.
    this.#epoll?.remove(before.fd);
    this.#device = device;
    Object.assign(this.capabilities, capabilities);
    this.#start();
    this.#epoll?.add(device.fd, EpollEvent.IN, this.#token);
    return before;
  }

  /** Reads one frame; what cannot be read is counted and left out. @returns its length, or 0 */
  read(at: number, length: number): number {
    for (let faults = 0; faults < READ_FAULTS_MAX; faults++) {
      const got = this.#device.read(this.#base + at, length);
      if (got > 0) {
        if (!this.#isUp) this.#setUp(true);
        return got;
      }
      if (got === 0) return 0;
      const fault = tunFault(-got);
      if (fault === TunFault.GONE) {
        this.#setGone();
        return 0;
      }
      if (fault !== TunFault.NONE) this.#counters.add(readFaultCounter(-got));
    }
    return 0;
  }

  transmit(frameAt: number, frameLength: number): boolean {
    if (this.#isGone) {
      this.#counters.add(Counter.DEVICE_WRITE_GONE);
      return false;
    }
    const written = this.#device.write(this.#base + frameAt, frameLength);
    if (written === frameLength) {
      if (this.#refusals > 0 && this.#isSuperframe(frameAt)) this.#refusals = 0;
      return true;
    }
    if (written < 0) this.#onRefusal(-written, frameAt);
    return false;
  }

  /** Looks after a device that is down. */
  check(now: Instant): void {
    if (this.#isUp || this.#isGone || now - this.#probedAt < PROBE_INTERVAL_US) return;
    this.#probedAt = now;
    const state = this.#device.probe();
    if (state === 'up') this.#setUp(true);
    else if (state === 'gone') this.#setGone();
  }

  #start(): void {
    this.#isUp = true;
    this.#isGone = false;
    this.#refusals = 0;
    this.#counters.set(Counter.DEVICE_UP_NOW, 1);
    this.#counters.set(Counter.OFFLOAD_NOW, this.capabilities.tso4 ? 1 : 0);
  }

  #isSuperframe(frameAt: number): boolean {
    return this.capabilities.vnetHeader && gsoSize(this.#view, frameAt) !== 0;
  }

  #onRefusal(errno: number, frameAt: number): void {
    this.#counters.add(writeFaultCounter(errno));
    const fault = tunFault(errno);
    if (fault === TunFault.GONE) this.#setGone();
    else if (fault === TunFault.DOWN && !(this.#isUp && this.#device.probe() === 'up')) {
      this.#setUp(false);
    } else if (fault >= TunFault.REFUSED && this.#isSuperframe(frameAt)) {
      this.#countRefusal(errno);
    }
  }

  /** The stack cuts its own segments from now on: slower, but they arrive. */
  #countRefusal(errno: number): void {
    this.#refusals += 1;
    if (this.#refusals < REFUSALS_BEFORE_DOWNGRADE) return;
    this.#refusals = 0;
    this.capabilities.tso4 = false;
    this.capabilities.tso6 = false;
    this.capabilities.uso = false;
    this.#counters.set(Counter.OFFLOAD_NOW, 0);
    const isDown = tunFault(errno) === TunFault.DOWN;
    this.#counters.add(isDown ? Counter.OFFLOAD_DOWNGRADES_EIO : Counter.OFFLOAD_DOWNGRADES);
    this.#reports.message({
      kind: 'log',
      level: 'warn',
      event: 'offload-downgrade',
      fields: { why: `the device refused superframes with ${isDown ? 'EIO' : 'EINVAL'}` },
    });
  }

  #setGone(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#isUp = false;
    // It would be ready for ever, with nothing but its error.
    this.#epoll?.remove(this.#device.fd);
    this.#counters.set(Counter.DEVICE_UP_NOW, 0);
    this.#reports.message({ kind: 'device-state', state: 'gone' });
  }

  #setUp(isUp: boolean): void {
    if (this.#isUp === isUp) return;
    this.#isUp = isUp;
    this.#counters.set(Counter.DEVICE_UP_NOW, isUp ? 1 : 0);
    this.#reports.message({ kind: 'device-state', state: isUp ? 'up' : 'down' });
  }
}
