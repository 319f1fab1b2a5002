/** What every way to load a bundle into a process shares: how long it may take, what went wrong. */
import { encodeJsonFrame, FrameTooLargeError } from '../../messages/framing.ts';
import type { ScriptIssue, ToScriptHost } from '../../messages/script-control.ts';
import type { ChildExit } from '../child.ts';
import { bundleIssue } from './change-errors.ts';
import type { BundleContent, Generation } from './generation.ts';

/** A process of a compiled binary is up in 50 ms; a busy machine needs more. */
export const START_ALLOWANCE_MS = 5_000;
/** Whatever `loadMs` says: whoever asked for the change waits for an answer. */
const LOAD_MAX_MS = 60_000;

/** How long a bundle may take to load, all scripts together. */
export const loadTimeMs = ({ limits, scripts }: BundleContent): number =>
  Math.min(limits.loadMs * scripts.length, LOAD_MAX_MS);

/** Why a message cannot be sent to a host; told here, where no host is there to be disturbed. */
export function frameFault(message: ToScriptHost): string | undefined {
  try {
    encodeJsonFrame(message);
    return undefined;
  } catch (error) {
    if (!(error instanceof FrameTooLargeError)) throw error;
    return `the scripts and their vars do not fit: ${error.message}`;
  }
}

/** A refusal always has a reason: an empty list would read as success. */
export const nonEmpty = (
  issues: readonly ScriptIssue[],
  generation: Generation,
): readonly ScriptIssue[] =>
  issues.length > 0 ? issues : [bundleIssue(generation, 'load', 'did not load, without a reason')];

export function describeExit({ code, signal, protocolError }: ChildExit): string {
  if (protocolError !== undefined)
    return `the script host broke the protocol: ${protocolError.message}`;
  return `the script host ended while loading (${signal ?? `exit code ${code}`})`;
}
