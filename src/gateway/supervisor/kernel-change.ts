/**
 * What the kernel is changed for a config that comes to a running gateway: the device, routes of
 * the pool and of the host. Begun when nothing else can refuse the config, and taken back when
 * something does all the same.
 */
import { formatPath } from '../config/documents.ts';
import { ConfigError, type LoadedConfig } from '../config/load.ts';
import { nameOf } from './config-state.ts';
import { DeviceChangeError } from './device/device-change.ts';
import type { DeviceKeeper, PendingDeviceChange } from './device/device-keeper.ts';
import type { Logger } from './log/logger.ts';

/** Takes back what was done for a config. @throws what the kernel says */
type TakeBack = () => void | Promise<void>;

/**
 * Has a part of the kernel, or of the host, follow a config that comes after another one.
 *
 * @throws ConfigError  all is as it was
 */
export type Follower = (
  wanted: LoadedConfig,
  before: LoadedConfig,
) => TakeBack | undefined | Promise<TakeBack | undefined>;

export interface KernelPorts {
  readonly device: Pick<DeviceKeeper, 'change'>;
  /** After the device, in this order. */
  readonly followers: readonly Follower[];
}

export class KernelChange {
  readonly #ports: KernelPorts;
  readonly #log: Logger;
  readonly #before: LoadedConfig;
  readonly #wanted: LoadedConfig;
  readonly #done: TakeBack[] = [];
  #device: PendingDeviceChange | undefined;
  #hasBegun = false;

  constructor(ports: KernelPorts, log: Logger, before: LoadedConfig, wanted: LoadedConfig) {
    this.#ports = ports;
    this.#log = log;
    this.#before = before;
    this.#wanted = wanted;
  }

  /**
   * Once, however often it is called.
   *
   * @throws ConfigError  what the kernel refuses: `undo` then
   * @throws SwapError    the data planes are not ready: the same may do later
   */
  async begin(): Promise<void> {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const device = await this.#changeDevice();
    this.#device = device;
    this.#done.push(() => device.undo());
    for (const follow of this.#ports.followers) {
      const takeBack = await follow(this.#wanted, this.#before);
      if (takeBack !== undefined) this.#done.push(takeBack);
    }
  }

  /** The config is in force. */
  async finish(): Promise<void> {
    await this.#device?.finish();
  }

  /** The config is refused: takes back what was begun, as much as can be; the log says the rest. */
  async undo(): Promise<void> {
    for (const takeBack of this.#done.splice(0).reverse()) {
      try {
        await takeBack();
      } catch (error) {
        // Why the config was refused is what its sender has to know.
        this.#log.error({ err: error }, 'change-not-undone');
      }
    }
  }

  async #changeDevice(): Promise<PendingDeviceChange> {
    const { config, placeOf } = this.#wanted;
    try {
      return await this.#ports.device.change(config.device);
    } catch (cause) {
      if (!(cause instanceof DeviceChangeError)) throw cause;
      const { path, message } = cause;
      const issue = { path: formatPath(path), message, ...placeOf?.(path) };
      throw new ConfigError(nameOf(this.#wanted), [issue], { cause });
    }
  }
}
