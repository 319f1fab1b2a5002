/** Why a change of scripts was not taken. */
import type { ScriptIssue } from '../../messages/script-control.ts';
import type { BundleContent } from './generation.ts';

/** The caller's ETag is not that of the active generation. */
export class StaleChangeError extends Error {
  override readonly name = 'StaleChangeError';
  readonly code = 'STALE';
}

/** The scripts may be right, but no host could load them now; nothing was changed. */
export class ScriptHostError extends Error {
  override readonly name = 'ScriptHostError';
  readonly code = 'SCRIPT_HOST';
}

/** A bundle does not load; nothing was changed. */
export class BundleRejectedError extends Error {
  override readonly name = 'BundleRejectedError';
  readonly code = 'BUNDLE_REJECTED';
  readonly issues: readonly ScriptIssue[];

  constructor(issues: readonly ScriptIssue[]) {
    super(issues.map(formatScriptIssue).join('\n'));
    this.issues = issues;
  }
}

/** The history does not hold what was asked for. */
export class NoSuchGenerationError extends Error {
  override readonly name = 'NoSuchGenerationError';
  readonly code = 'NO_SUCH_GENERATION';
}

/** There is nothing to promote or to abort. */
export class NoTrialError extends Error {
  override readonly name = 'NoTrialError';
  readonly code = 'NO_TRIAL';
}

/** An issue that cannot be laid on one line: it names the only script, or the bundle. */
export function bundleIssue(
  { scripts }: BundleContent,
  kind: string,
  message: string,
): ScriptIssue {
  const only = scripts.length === 1 ? scripts[0] : undefined;
  const place = { script: only?.name ?? '', file: only?.file ?? 'bundle' };
  return { ...place, line: 0, column: 0, kind, message };
}

/** `scripts/route.ts:3:5: message` */
export function formatScriptIssue(issue: ScriptIssue): string {
  const place = issue.line === 0 ? issue.file : `${issue.file}:${issue.line}:${issue.column}`;
  return `${place}: ${issue.message}`;
}
