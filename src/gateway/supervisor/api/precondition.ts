/** Conditional requests, RFC 9110 §13: who changes something says which state was seen. */
import type { Context } from 'hono';
import type { ReloadConfig } from '../../config/reload-schema.ts';
import type { TrialPlan } from '../scripts/generation-parts.ts';
import type { ChangeOptions } from '../scripts/generations.ts';
import { ProblemError } from './problem.ts';
import type { ChangeQuery } from './schemas.ts';

/** An entity tag and what may stand behind it in a list, RFC 9110 §8.8.3 and §5.6.1. */
const TAG = /\s*(?:W\/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)|\s*,/y;

/**
 * Reads the precondition of a change. `If-Match: *` and `?force=true` stand for a person who
 * wants it whatever is there.
 *
 * @throws ProblemError  428 when there is none (RFC 6585 §3), 400 when it cannot be read
 */
export function changeOptions(
  context: Context,
  query: ChangeQuery,
  defaults: ReloadConfig['canary'],
): ChangeOptions {
  const { revalidate } = query;
  const trial = trialOf(query, defaults);
  const options = {
    force: query.force === true,
    dryRun: query.dry_run === true,
    trial,
    revalidate,
  };
  const isFree = options.force || options.dryRun;
  return { ...options, ...preconditionOf(context, 'GET /v1/generations', isFree) };
}

/**
 * The state that a change starts from; empty for whatever is there.
 *
 * @param source  where its ETag is found, for those who left it out
 * @param isFree  it may be left out
 * @throws ProblemError  428 when there is none (RFC 6585 §3), 400 when it cannot be read
 */
export function preconditionOf(
  context: Context,
  source: string,
  isFree = false,
): { readonly ifMatch?: readonly string[] } {
  const ifMatch = parseIfMatch(context);
  if (Array.isArray(ifMatch)) return { ifMatch };
  if (ifMatch === '*' || isFree) return {};
  throw new ProblemError(
    428,
    `If-Match is missing: send the ETag of ${source}, or "*" for whatever is there`,
  );
}

/**
 * Checks the `If-Match` of a write that may go without one: who sends one means it.
 *
 * @param etag  of what is there; undefined for what has no versions
 * @throws ProblemError  412 when it is another state (RFC 9110 §13.1.1), 400 when it cannot be read
 */
export function demandMatch(context: Context, what: string, etag?: string): void {
  const ifMatch = parseIfMatch(context);
  if (!Array.isArray(ifMatch)) return;
  if (etag === undefined) {
    throw new ProblemError(412, `${what} no versions: leave If-Match out, or send "*"`);
  }
  if (ifMatch.includes(etag)) return;
  throw new ProblemError(412, `${what} ${etag}, not ${ifMatch.join(' or ')}`);
}

/**
 * The answer to who has the state already; undefined for others. Only for what is the same as long
 * as its tag is: counters beside it would stand still.
 */
export function unchanged(context: Context, etag: string): Response | undefined {
  context.header('ETag', etag);
  const known = parseTags(context, 'If-None-Match');
  const isKnown = known === '*' || known?.includes(etag) === true;
  return isKnown ? context.body(null, 304) : undefined;
}

/** @throws ProblemError  400 when two trials are asked for */
function trialOf(query: ChangeQuery, defaults: ReloadConfig['canary']): TrialPlan | undefined {
  const share = query.canary ?? (query.shadow ? 0 : defaults.share);
  if (query.shadow && share > 0) throw new ProblemError(400, 'a canary is no shadow: choose one');
  if (query.shadow) return { mode: 'shadow' };
  if (share === 0) return undefined;
  return {
    mode: 'canary',
    share: share / 100,
    errors: defaults.errors / 100,
    windowMs: defaults.window,
    forMs: query.canary_for ?? defaults.for,
  };
}

/**
 * The tags of `If-Match`. Compression on the way makes a tag weak; it still names the same state,
 * so a weak one is taken for the strong one.
 *
 * @throws ProblemError  400 when it is no list of tags
 */
const parseIfMatch = (context: Context): string[] | '*' | undefined =>
  parseTags(context, 'If-Match');

function parseTags(
  context: Context,
  name: 'If-Match' | 'If-None-Match',
): string[] | '*' | undefined {
  const header = context.req.header(name)?.trim();
  if (header === undefined || header === '*') return header;
  const tags: string[] = [];
  TAG.lastIndex = 0;
  while (TAG.lastIndex < header.length) {
    const match = TAG.exec(header);
    if (match === null) throw new ProblemError(400, `${name} is no list of ETags: ${header}`);
    if (match[1] !== undefined) tags.push(match[1]);
  }
  return tags;
}
