import type { ScriptLimits, ScriptSet, ScriptSource } from '../../messages/script-control.ts';

/** All that decides how scripts behave. */
export interface BundleContent {
  readonly scripts: readonly ScriptSource[];
  readonly vars: Readonly<Record<string, string>>;
  readonly limits: ScriptLimits;
  readonly sets?: Readonly<Record<string, ScriptSet>>;
  /** Authorities that they trust besides the usual ones, in PEM. */
  readonly ca?: string;
}

export const ORIGINS = ['start', 'reload', 'api', 'rollback'] as const;
export type Origin = (typeof ORIGINS)[number];

export interface Generation extends BundleContent {
  /** 0 is the state before the first bundle. */
  readonly number: number;
  /** Of the content, hexadecimal. */
  readonly hash: string;
  readonly origin: Origin;
  /** Of a rollback: where its content comes from. */
  readonly copyOf?: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}
