/** The audit log: who changed what, and how it went. Reading leaves no line. */
import type { MiddlewareHandler } from 'hono';
import type { Logger } from '../log/logger.ts';
import { RepeatLimit } from '../log/repeat-limit.ts';
import { scopeOf } from './access.ts';
import type { ApiEnv } from './api-env.ts';
import { type Caller, nameOf, type Peer } from './callers.ts';
import type { ControlPlane } from './control-plane.ts';

type AuditFields = Readonly<Record<string, string | number | boolean>>;

/** Of a path or a query: more than any of ours has, and strangers fill no log with the rest. */
const SHOWN_MAX = 512;

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Strangers share one bound: what they call themselves costs them nothing. */
const STRANGERS = 'strangers';

/**
 * Writes a line for each write, refused ones too: who tries tokens should be seen. Of what one
 * caller is refused some lines are written in a period, and how many there were more, so that
 * nobody fills the log, or pushes what others did out of the events that are kept.
 *
 * @param periodMs  as of lines that repeat
 */
export function auditWrites(
  plane: Pick<ControlPlane, 'activeGeneration' | 'notices'>,
  log: Logger,
  periodMs?: number,
): MiddlewareHandler<ApiEnv> {
  const refusals = new RepeatLimit((caller, leftOut) => {
    const fields = { result: 'refused', caller, left_out: leftOut };
    log.warn({ event: 'audit', ...fields }, 'audit-left-out');
    plane.notices.tell('AUDIT', fields);
  }, periodMs);
  return async (context, next) => {
    const { method, path } = context.req;
    const startedAt = performance.now();
    await next();
    const { status } = context.res;
    // A question in a body is a POST, and changes nothing.
    if (SAFE_METHODS.has(method) || (scopeOf(context) === 'read' && status < 400)) return;
    const caller = context.get('caller');
    // What failed in the gateway may have changed something, and is not to be missed.
    const isRefused = status >= 400 && status < 500;
    if (isRefused && !refusals.passes(caller === undefined ? STRANGERS : nameOf(caller))) return;
    const query = queryOf(context.req.url);
    const fields: AuditFields = {
      ...viewCaller(context.env.peer, caller),
      method,
      path: path.slice(0, SHOWN_MAX),
      ...(query === '' ? {} : { query: query.slice(0, SHOWN_MAX) }),
      status,
      result: status < 400 ? 'ok' : 'refused',
      generation: plane.activeGeneration.number,
      duration_ms: Math.round(performance.now() - startedAt),
    };
    log.info({ event: 'audit', ...fields }, 'audit');
    plane.notices.tell('AUDIT', fields);
  };
}

/** Nobody should send a token there; who does it by mistake must not find it in a log. */
function queryOf(url: string): string {
  const { searchParams } = new URL(url);
  if (searchParams.has('token')) searchParams.set('token', '***');
  return searchParams.toString();
}

const viewCaller = (peer: Peer, caller: Caller | undefined): AuditFields => ({
  ...(peer.kind === 'unix' ? { uid: peer.uid, pid: peer.pid } : { address: peer.address }),
  ...(caller?.token === undefined ? {} : { token: caller.token }),
});
