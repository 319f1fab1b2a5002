/** What a supervisor is given: the kernel's part, the config, and whom to tell. */
import type { LoadedConfig } from '../config/load.ts';
import type { ConfigOrigin } from './config-changes.ts';
import type { Kernel } from './kernel.ts';
import type { Follower } from './kernel-change.ts';
import type { LogStyle } from './log/log-style.ts';
import type { Logger } from './log/logger.ts';
import type { ReloadRecord } from './scripts/reloads.ts';

export interface SupervisorOptions {
  readonly log: Logger;
  readonly logStyle: LogStyle;
  readonly kernel: Kernel;
  readonly loaded: LoadedConfig;
  readonly configSource: ConfigOrigin;
  /** Have the host do what a config wants of it: routes, the file of the socket. */
  readonly followers: readonly Follower[];
  /** The device is up again, or another one is in its place: what the kernel forgot is missing. */
  readonly onDeviceBack: () => void;
  /** A reload has begun. */
  readonly onReload: (record: ReloadRecord) => void;
  /** Where the history of scripts is kept; absent: in memory only. */
  readonly historyFolder?: string | undefined;
  /** Somebody wants it to end, and waits for flows so long. */
  readonly onStop: (deadlineMs: number) => void;
  /** The gateway cannot go on. */
  readonly onFatal: () => void;
}
