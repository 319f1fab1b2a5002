/** What a script host is kept with, and whom it tells what. */
import type { ScriptsState } from '../../messages/control.ts';
import type { CanaryCounts, DecidedFlow } from '../../messages/script-control.ts';
import type { Logger } from '../log/logger.ts';
import type { HeartbeatPage } from './host-process.ts';
import type { ConfigFacts } from './script-bundle.ts';

export interface ScriptHostOptions {
  readonly log: Logger;
  /** As `queueFds` orders them, two for each queue, of a host that begins now. */
  readonly fds: () => readonly number[];
  readonly pages: readonly [HeartbeatPage, HeartbeatPage];
  readonly iface: () => string;
  /** What the configuration says beside the scripts, now. */
  readonly facts?: () => ConfigFacts;
  /** CLOCK_MONOTONIC in microseconds. */
  readonly monotonicUs: () => number;
  /** Tells the data plane. */
  readonly onState: (state: ScriptsState) => void;
  readonly hostCommand?: readonly string[];
  readonly checkCommand?: readonly string[];
  readonly busyAllowanceMs?: number;
  /** Flows of late that a check asks about. */
  readonly replayFlows?: () => number;
  /** How long connections may stay with scripts that were replaced. */
  readonly drainMs?: () => number;
  /** How the canary does. */
  readonly onCanary?: (counts: CanaryCounts) => void;
  /** Flows that were decided, while somebody watches. */
  readonly onDecided?: (flows: readonly DecidedFlow[], left: number) => void;
  /** A host was lost, and a canary with it. */
  readonly onLost?: (why: string) => void;
}
