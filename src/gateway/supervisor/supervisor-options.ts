/** What a supervisor is given: the kernel's part, the config, and whom to tell. */
import type { LoadedConfig } from '../config/load.ts';
import type { ConfigOrigin } from './config-changes.ts';
import type { Kernel } from './kernel.ts';
import type { Logger } from './log/logger.ts';
import type { ReloadRecord } from './scripts/reloads.ts';

export interface SupervisorOptions {
  readonly log: Logger;
  readonly kernel: Kernel;
  readonly loaded: LoadedConfig;
  readonly configSource: ConfigOrigin;
  /**
   * Has the host do what a config wants of it: routes. Called before anything else is changed, and
   * with the config that runs when a change fails after that.
   *
   * @throws ConfigError  the kernel refuses; all is as it was
   */
  readonly followConfig: (loaded: LoadedConfig) => void;
  /** A reload has begun. */
  readonly onReload: (record: ReloadRecord) => void;
  /** Where the history of scripts is kept; absent: in memory only. */
  readonly historyFolder?: string | undefined;
  /** Somebody wants it to end, and waits for flows so long. */
  readonly onStop: (deadlineMs: number) => void;
  /** The gateway cannot go on. */
  readonly onFatal: () => void;
}
