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

export interface KernelPorts {
  readonly device: Pick<DeviceKeeper, 'change'>;
  /** Has routes follow the config; called again with the one before, all is as it was. */
  readonly follow: (loaded: LoadedConfig) => void;
}

export class KernelChange {
  readonly #ports: KernelPorts;
  readonly #before: LoadedConfig;
  readonly #wanted: LoadedConfig;
  #device: PendingDeviceChange | undefined;
  #hasBegun = false;

  constructor(ports: KernelPorts, before: LoadedConfig, wanted: LoadedConfig) {
    this.#ports = ports;
    this.#before = before;
    this.#wanted = wanted;
  }

  /** Once, however often it is called. @throws ConfigError  what the kernel refuses: `undo` then */
  async begin(): Promise<void> {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    this.#device = await this.#changeDevice();
    this.#ports.follow(this.#wanted);
  }

  /** The config is in force. */
  async finish(): Promise<void> {
    await this.#device?.finish();
  }

  /** The config is refused. Nothing, where it was not begun. */
  async undo(): Promise<void> {
    if (!this.#hasBegun) return;
    try {
      this.#ports.follow(this.#before);
    } finally {
      await this.#device?.undo();
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
