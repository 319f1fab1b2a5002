/** What the history of generations works with, as types. */
import type { CanaryPlan, ScriptIssue } from '../../messages/script-control.ts';
import type { Generation } from './generation.ts';
import type { Replay } from './replay.ts';

export interface Checked {
  /** Of loading, or of tests that fail. */
  readonly issues: readonly ScriptIssue[];
  /** Of the scripts' own, that passed. */
  readonly tests?: number;
  /** Where there were flows to ask about. */
  readonly replay?: Replay;
}

/** A share of the flows for the new bundle, until it has shown that it is good or is not. */
export interface CanaryTrial extends CanaryPlan {
  readonly mode: 'canary';
  /** Milliseconds until it takes over; 0: when it is told to. */
  readonly forMs: number;
}
export type TrialPlan = CanaryTrial | { readonly mode: 'shadow' };

export interface Trial {
  readonly generation: Generation;
  readonly plan: TrialPlan;
}

/** Runs a bundle on trial. */
export interface TrialRunner {
  start(bundle: Generation, plan: TrialPlan): Promise<readonly ScriptIssue[]>;
  /** Makes it the active one. */
  promote(bundle: Generation, plan: TrialPlan): Promise<readonly ScriptIssue[]>;
  abort(why: string): void;
}

/** Where generations are written down. */
export interface HistoryStore {
  /** Newest first. */
  readonly generations: readonly Generation[];
  /** No number up to this one is given again. */
  readonly lastNumber: number;
  /** Keys the hash, in which there may be secrets: see `hashOf`. */
  readonly hashKey: Uint8Array;
  /** Before it decides about anything: its number is never another's then. Never rejects. */
  prepare(generation: Generation): Promise<void>;
  /** It decides now. Never rejects. */
  commit(generation: Generation): Promise<void>;
}
