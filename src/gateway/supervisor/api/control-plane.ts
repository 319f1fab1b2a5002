/** What the HTTP API needs of the gateway. The supervisor implements it; tests have their own. */
import type { ReloadConfig } from '../../config/reload-schema.ts';
import type { RecordedFlow } from '../../messages/script-control.ts';
import type { ConfigChanges } from '../config-changes.ts';
import type { ConfigState } from '../config-state.ts';
import type { FlowControl } from '../flows/flow-control.ts';
import type { LogLevel } from '../log/log-level.ts';
import type { Notices } from '../notices.ts';
import type { Explanation } from '../scripts/explain.ts';
import type { Generation } from '../scripts/generation.ts';
import type { Trial } from '../scripts/generation-parts.ts';
import type { Change, ChangeOptions } from '../scripts/generations.ts';
import type { ReloadRecord } from '../scripts/reloads.ts';
import type { NewBundle, NewScript } from '../scripts/script-changes.ts';
import type { TrialReport } from '../scripts/trials.ts';
import type { UpstreamState } from '../upstream-states.ts';
import type { DeviceView } from './device-schemas.ts';
import type { DropCount, ReasonCount, Status } from './schemas.ts';

export interface ControlPlane {
  /** What of the config the API itself goes by, as it is now. */
  readonly config: Pick<ConfigState, 'access' | 'hosts' | 'isClash' | 'onAccess'>;
  /** Bytes of clients so far, up and down. */
  traffic(): { readonly up: number; readonly down: number };
  readonly notices: Notices;
  readonly logLevel: LogLevel;
  readonly configChanges: Pick<ConfigChanges, 'etag' | 'shown' | 'change'>;
  /** Takes no new flow; the deadline for those that live, as the config has it unless given. */
  beginDrain(deadlineMs: number | undefined): number;
  /** Drains, and ends the process. */
  beginStop(deadlineMs: number | undefined): number;
  status(): Status;
  /** Why the gateway does not take new flows; empty when it does. */
  notReady(): readonly string[];
  metrics(): string;
  drops(): { readonly drops: readonly DropCount[]; readonly closes: readonly ReasonCount[] };

  readonly flows: FlowControl;
  /** Upstreams that have names, in the order of the configuration. */
  readonly upstreams: readonly UpstreamState[];
  readonly device: {
    view(): DeviceView;
    /** Of the device as it is; changes with whatever happens to it. */
    readonly etag: string;
    /** @throws SwapError, StaleChangeError  the device before is still in use */
    swap(name?: string, ifMatch?: readonly string[]): Promise<void>;
  };
  /** Who would decide about a flow, and why. @throws ScriptHostError, BundleRejectedError */
  explain(flow: RecordedFlow): Promise<Explanation>;

  readonly activeGeneration: Generation;
  /** Newest first. */
  readonly generations: readonly Generation[];
  readonly etag: string;
  putScript(script: NewScript, options: ChangeOptions): Promise<Change>;
  /** Replaces all scripts; what else is absent stays. */
  putBundle(bundle: NewBundle, options: ChangeOptions): Promise<Change>;
  /** @throws NoSuchScriptError */
  removeScript(name: string, options: ChangeOptions): Promise<Change>;
  /** The bundle that is tried beside the active one. */
  readonly trial: TrialState | undefined;
  /** @throws NoTrialError */
  promote(options: Precondition): Promise<Change>;
  /** @throws NoTrialError */
  abortTrial(options: Precondition): Promise<Change>;
  rollback(to: number | undefined, options: ChangeOptions): Promise<Change>;
  /** Begins to read config and scripts from disk again. @throws TooManyReloadsError */
  startReload(options: ChangeOptions): ReloadRecord;
  /** How a canary is, where the change does not say. */
  readonly canaryDefaults: ReloadConfig['canary'];
  /** Newest first. */
  readonly reloads: readonly ReloadRecord[];
  /** @throws NoSuchReloadError */
  findReload(id: string): ReloadRecord;
}

type Precondition = Pick<ChangeOptions, 'ifMatch'>;
export interface TrialState extends Trial {
  readonly report: TrialReport;
}
