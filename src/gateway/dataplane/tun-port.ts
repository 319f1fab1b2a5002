/**
 * The device as the stack's sink, and its health: an offload that the kernel refuses is given up,
 * a device that is down is known as such, and a deleted one ends the data plane.
 */
import { Errno } from '../../ffi/errno.ts';
import type { TunDevice } from '../../ffi/tun-device.ts';
import { Counter, type Counters } from '../../stack/counters.ts';
import type { DeviceCapabilities, FrameSink } from '../../stack/device.ts';
import type { Instant } from '../../stack/time.ts';
import { gsoSize } from '../../stack/wire/virtio-net.ts';
import type { Reports } from './reports.ts';

/** How often a device that is down is asked whether it is up again. */
const PROBE_INTERVAL_US = 500_000;
/** Superframes refused in a row before segmentation is given up for good. */
const REFUSALS_BEFORE_DOWNGRADE = 3;

export class TunPort implements FrameSink {
  readonly capabilities: DeviceCapabilities;
  readonly #device: TunDevice;
  readonly #view: DataView;
  readonly #base: number;
  readonly #counters: Counters;
  readonly #reports: Reports;
  #isUp = true;
  #isGone = false;
  #probedAt = 0;
  #refusals = 0;

  /**
   * @param memory  the arena's, in which frames lie
   * @param base    address of its first byte
   */
  constructor(
    device: TunDevice,
    capabilities: DeviceCapabilities,
    memory: ArrayBuffer,
    base: number,
    counters: Counters,
    reports: Reports,
  ) {
    this.#device = device;
    this.capabilities = capabilities;
    this.#view = new DataView(memory);
    this.#base = base;
    this.#counters = counters;
    this.#reports = reports;
    counters.set(Counter.DEVICE_UP_NOW, 1);
    counters.set(Counter.OFFLOAD_NOW, capabilities.tso4 ? 1 : 0);
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Reads one frame. @returns its length, 0 when there is none */
  read(at: number, length: number): number {
    const got = this.#device.read(this.#base + at, length);
    if (got > 0) {
      if (!this.#isUp) this.#setUp();
      return got;
    }
    if (got < 0) this.#onError(-got);
    return 0;
  }

  transmit(frameAt: number, frameLength: number): boolean {
    const written = this.#device.write(this.#base + frameAt, frameLength);
    const isSuperframe = this.capabilities.vnetHeader && gsoSize(this.#view, frameAt) !== 0;
    if (written === frameLength) {
      if (isSuperframe) this.#refusals = 0;
      return true;
    }
    if (written < 0) this.#onRefusal(-written, isSuperframe);
    return false;
  }

  /** Looks after a device that is down. */
  check(now: Instant): void {
    if (this.#isUp || this.#isGone || now - this.#probedAt < PROBE_INTERVAL_US) return;
    this.#probedAt = now;
    const state = this.#device.probe();
    if (state === 'up') this.#setUp();
    else if (state === 'gone') this.#onError(Errno.EBADFD);
  }

  #onRefusal(errno: number, isSuperframe: boolean): void {
    if (errno === Errno.EINVAL && isSuperframe) {
      this.#refusals += 1;
      if (this.#refusals >= REFUSALS_BEFORE_DOWNGRADE) this.#giveUpSegmentation();
      return;
    }
    this.#onError(errno);
  }

  /** The stack cuts its own segments from now on: slower, but they arrive. */
  #giveUpSegmentation(): void {
    this.capabilities.tso4 = false;
    this.capabilities.tso6 = false;
    this.capabilities.uso = false;
    this.#counters.set(Counter.OFFLOAD_NOW, 0);
    this.#counters.add(Counter.OFFLOAD_DOWNGRADES);
    this.#reports.message({
      kind: 'log',
      level: 'warn',
      event: 'offload-downgrade',
      fields: { why: 'the device refused superframes with EINVAL' },
    });
  }

  #onError(errno: number): void {
    if (errno === Errno.EBADFD && !this.#isGone) {
      this.#isGone = true;
      this.#isUp = false;
      this.#counters.set(Counter.DEVICE_UP_NOW, 0);
      this.#reports.message({ kind: 'log', level: 'error', event: 'device-gone', fields: {} });
    } else if (errno === Errno.EIO && this.#isUp) {
      this.#isUp = false;
      this.#counters.set(Counter.DEVICE_UP_NOW, 0);
      this.#reports.message({ kind: 'log', level: 'warn', event: 'device-down', fields: {} });
    }
  }

  #setUp(): void {
    this.#isUp = true;
    this.#counters.set(Counter.DEVICE_UP_NOW, 1);
    this.#reports.message({ kind: 'log', level: 'info', event: 'device-up', fields: {} });
  }
}
