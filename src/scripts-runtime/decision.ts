/** What comes of asking scripts about a flow. */
import type { DecidedBy, OnError, Verdict } from '../stack/verdict.ts';
import type { FailureKind } from './errors.ts';

/** `DecidedBy.script` when no script claimed the flow. */
export const NO_SCRIPT = 0xffff_ffff;

/** A script that gave no verdict. */
export interface ScriptFailure {
  /** Position of the script. */
  readonly script: number;
  readonly failure: FailureKind;
}

/** How a decision ended. */
export type Decision =
  | {
      readonly kind: 'verdict';
      readonly verdict: Verdict;
      readonly by: DecidedBy;
      /** What the script called the upstream, when it gave no address. */
      readonly name?: string;
      /** Scripts before it that failed, and were passed over; absent for none. */
      readonly failures?: readonly ScriptFailure[];
    }
  | {
      readonly kind: 'failed';
      /** The first one. */
      readonly failure: FailureKind;
      readonly by: DecidedBy;
      /** What becomes of the flow; absent: it is rejected. */
      readonly onError?: Exclude<OnError, 'reject'>;
      /** Of `decline`: all scripts that failed; the others have declined. */
      readonly failures?: readonly ScriptFailure[];
    };
