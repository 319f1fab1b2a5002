/** `If-Match`, RFC 9110 §13.1.1: who changes something says which state was seen. */
import type { Context } from 'hono';
import type { ChangeOptions } from '../generations.ts';
import { ProblemError } from './problem.ts';

/**
 * Reads the precondition of a change. `If-Match: *` and `?force=true` stand for a person who
 * wants it whatever is there.
 *
 * @throws ProblemError  428 when there is none (RFC 6585 §3)
 */
export function changeOptions(
  context: Context,
  query: { readonly force?: boolean | undefined; readonly dry_run?: boolean | undefined },
): ChangeOptions {
  const options = { force: query.force === true, dryRun: query.dry_run === true };
  const ifMatch = context.req.header('If-Match')?.trim();
  // Compression on the way makes a tag weak; it still names the same state.
  if (ifMatch !== undefined && ifMatch !== '*')
    return { ...options, ifMatch: ifMatch.replace(/^W\//, '') };
  if (ifMatch === '*' || options.force || options.dryRun) return options;
  throw new ProblemError(
    428,
    'If-Match is missing: send the ETag of GET /v1/generations, or "*" for whatever is active',
  );
}
