/** The one mapper from errors to `application/problem+json`, RFC 9457. */
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { ConfigFileError } from '../../config/config-writer.ts';
import { ConfigError } from '../../config/load.ts';
import { RestartRequiredError } from '../../config/restart-required.ts';
import { FilterError } from '../../flow-filter/filter-error.ts';
import type { ScriptIssue } from '../../messages/script-control.ts';
import { TooManyCapturesError } from '../capture/captures.ts';
import { SwapError } from '../device/device-keeper.ts';
import { TooManyReadersError } from '../flows/flow-events.ts';
import type { Logger } from '../log/logger.ts';
import {
  BundleRejectedError,
  NoSuchGenerationError,
  NoTrialError,
  ScriptHostError,
  StaleChangeError,
} from '../scripts/change-errors.ts';
import { NoSuchReloadError, TooManyReloadsError } from '../scripts/reloads.ts';
import { NoSuchScriptError } from '../scripts/script-changes.ts';
import type { Problem } from './schemas.ts';

type Fault = NonNullable<Problem['errors']>[number];

/** A request that cannot be served, as a route says it. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly code = 'PROBLEM';
  readonly status: ContentfulStatusCode;
  readonly errors: readonly Fault[];

  constructor(status: ContentfulStatusCode, detail: string, errors: readonly Fault[] = []) {
    super(detail);
    this.status = status;
    this.errors = errors;
  }
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not found',
  405: 'Method not allowed',
  409: 'Conflict',
  412: 'Precondition failed',
  413: 'Too large',
  415: 'Unsupported media type',
  422: 'Refused',
  428: 'Precondition required',
  429: 'Too many requests',
  431: 'Headers too large',
  500: 'Internal error',
  503: 'Not ready',
};

/** Answers with the error. Only what is our own fault is logged. */
export function answerError(error: Error, context: Context, log: Logger): Response {
  // Whoever goes while it sends has an end of its own; nobody reads this.
  if (context.req.raw.signal.aborted) return problemResponse(new ProblemError(400, 'cut off'));
  if (describe(error).status === 500)
    log.error({ err: error, path: context.req.path }, 'api-error');
  return problemResponse(error);
}

export function problemResponse(error: Error): Response {
  const { status } = describe(error);
  const headers = new Headers({ 'Content-Type': 'application/problem+json' });
  if (status === 401) headers.set('WWW-Authenticate', 'Bearer realm="culvert"');
  return new Response(JSON.stringify(viewProblem(error)), { status, headers });
}

/** The error as RFC 9457 has it. */
export function viewProblem(error: Error): Problem {
  const { status, detail, errors } = describe(error);
  return {
    type: 'about:blank',
    title: TITLES[status] ?? 'Error',
    status,
    detail,
    ...(errors.length === 0 ? {} : { errors: [...errors] }),
  };
}

type Description = Pick<ProblemError, 'status' | 'errors'> & { readonly detail: string };

function describe(error: Error): Description {
  const plain = (status: ContentfulStatusCode): Description => ({
    status,
    detail: error.message,
    errors: [],
  });
  if (error instanceof ProblemError) return { ...plain(error.status), errors: error.errors };
  if (error instanceof StaleChangeError) return plain(412);
  if (
    error instanceof TooManyReadersError ||
    error instanceof TooManyReloadsError ||
    error instanceof TooManyCapturesError
  )
    return plain(429);
  if (error instanceof ScriptHostError) return plain(503);
  if (error instanceof SwapError) return plain(error.code === 'DEVICE_REFUSED' ? 422 : 503);
  if (
    error instanceof NoSuchScriptError ||
    error instanceof NoSuchGenerationError ||
    error instanceof NoSuchReloadError ||
    error instanceof NoTrialError
  )
    return plain(404);
  if (error instanceof FilterError) {
    const { column, message } = error;
    return { ...plain(400), errors: [{ path: 'filter', message, line: 1, column }] };
  }
  if (error instanceof BundleRejectedError) {
    return { status: 422, detail: error.message, errors: error.issues.map(scriptFault) };
  }
  if (error instanceof ConfigFileError) return plain(409);
  if (error instanceof ConfigError) {
    const status = error instanceof RestartRequiredError ? 409 : 422;
    return { status, detail: error.message, errors: [...error.issues] };
  }
  if (error instanceof HTTPException) return plain(error.status);
  // The text of an error of ours is for the log, not for a client.
  return { status: 500, detail: 'the gateway failed; its log says how', errors: [] };
}

const scriptFault = ({ file, line, column, message }: ScriptIssue): Fault =>
  line === 0 ? { path: file, message } : { path: file, message, line, column };
