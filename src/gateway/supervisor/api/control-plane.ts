/** What the HTTP API needs of the gateway. The supervisor implements it; tests have their own. */
import type { ScriptSource } from '../../messages/script-control.ts';
import type { FlowControl } from '../flow-control.ts';
import type { BundleContent, Change, ChangeOptions, Generation } from '../generations.ts';
import type { DropCount, ReasonCount, Status } from './schemas.ts';

export interface ControlPlane {
  status(): Status;
  /** Why the gateway does not take new flows; empty when it does. */
  notReady(): readonly string[];
  metrics(): string;
  drops(): { readonly drops: readonly DropCount[]; readonly closes: readonly ReasonCount[] };

  readonly flows: FlowControl;

  readonly activeGeneration: Generation;
  /** Newest first. */
  readonly generations: readonly Generation[];
  readonly etag: string;
  putScript(script: NewScript, options: ChangeOptions): Promise<Change>;
  /** Replaces all scripts; what else is absent stays. */
  putBundle(bundle: NewBundle, options: ChangeOptions): Promise<Change>;
  /** @throws NoSuchScriptError */
  removeScript(name: string, options: ChangeOptions): Promise<Change>;
  rollback(to: number | undefined, options: ChangeOptions): Promise<Change>;
  /** Reads config and scripts from disk again. */
  reload(options: ChangeOptions): Promise<Reload>;
}

export type NewScript = ScriptSource;
export type NewBundle = Pick<BundleContent, 'scripts'> & {
  readonly [K in 'vars' | 'sets']?: BundleContent[K] | undefined;
};

export interface Reload extends Change {
  /** Places of the config that changed and take effect only at the next start. */
  readonly restartRequired: readonly string[];
}

export class NoSuchScriptError extends Error {
  override readonly name = 'NoSuchScriptError';
  readonly code = 'NO_SUCH_SCRIPT';
}
