/** What each route demands of its caller. */
import type { Context, MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import { effectiveUid } from '../../../ffi/process.ts';
import type { Scope } from '../../config/admin-schema.ts';
import type { ApiEnv } from './api-env.ts';
import { type AccessRules, type Caller, hasScope, identify, nameOf } from './callers.ts';
import { ProblemError } from './problem.ts';

/**
 * The scope of each route; `open` ones are for probes, which have no token, and tell nothing but
 * their answer. A route that is not here is one of `admin`.
 */
export const ROUTE_SCOPES: Readonly<Record<string, Scope | 'open'>> = {
  'GET /healthz': 'open',
  'GET /readyz': 'open',
  'GET /ready': 'open',
  'GET /ping': 'open',
  'GET /version': 'read',
  'GET /info': 'read',
  'GET /v1/config': 'read',
  'PUT /v1/config': 'admin',
  'PATCH /v1/config': 'admin',
  'GET /v1/log-level': 'read',
  'PUT /v1/log-level': 'admin',
  'DELETE /v1/log-level': 'admin',
  'POST /v1/drain': 'admin',
  'POST /v1/stop': 'admin',
  'GET /connections': 'read',
  'DELETE /connections': 'kill',
  'DELETE /connections/:id': 'kill',
  'GET /configs': 'read',
  'GET /proxies': 'read',
  'GET /providers/proxies': 'read',
  'GET /providers/rules': 'read',
  'GET /rules': 'read',
  'GET /traffic': 'read',
  'GET /logs': 'read',
  'GET /metrics': 'read',
  'GET /v1/status': 'read',
  'GET /v1/scripts': 'read',
  'GET /v1/scripts/:name': 'read',
  'PUT /v1/scripts/:name': 'reload',
  'DELETE /v1/scripts/:name': 'reload',
  'POST /v1/bundles': 'reload',
  'GET /v1/generations': 'read',
  'POST /v1/rollback': 'reload',
  'POST /v1/reload': 'reload',
  'GET /v1/reloads': 'read',
  'GET /v1/reloads/:id': 'read',
  'GET /v1/trial': 'read',
  'POST /v1/trial/promote': 'reload',
  'POST /v1/trial/abort': 'reload',
  'GET /v1/flows': 'read',
  'DELETE /v1/flows': 'kill',
  'GET /v1/flows/:id': 'read',
  'DELETE /v1/flows/:id': 'kill',
  'GET /v1/conntrack': 'read',
  'GET /v1/conntrack/count': 'read',
  'GET /v1/upstreams': 'read',
  'GET /v1/events': 'read',
  'GET /v1/drops': 'read',
  'GET /v1/capture': 'admin',
  'GET /v1/device': 'read',
  'POST /v1/device/swap': 'admin',
  'POST /v1/explain': 'read',
  'GET /v1/openapi.json': 'read',
};

/**
 * Lets in whom the rules name, and stops who lacks the scope of the route.
 *
 * @param rules   those of now: a reload may change them
 */
export function requireScope(rules: () => AccessRules): MiddlewareHandler<ApiEnv> {
  const ownUid = effectiveUid();
  return async (context, next) => {
    const { peer } = context.env;
    const wanted = scopeOf(context);
    const shown = context.req.header('Authorization');
    const identified = () => identify(peer, shown, rules(), ownUid);
    const caller = identified();
    if (wanted !== 'open') check(caller, wanted, context);
    if (caller !== undefined) context.set('caller', caller);
    context.set('isLetIn', () => wanted === 'open' || isEnough(identified(), wanted));
    await next();
  };
}

const isEnough = (caller: Caller | undefined, wanted: Scope | undefined): boolean =>
  caller !== undefined && (wanted === undefined || hasScope(caller, wanted));

/** Of the route that will answer; undefined when none does. */
export function scopeOf(context: Context<ApiEnv>): Scope | 'open' | undefined {
  // What is for all methods is middleware.
  const route = matchedRoutes(context).findLast(({ method }) => method !== 'ALL');
  return route && (ROUTE_SCOPES[`${route.method} ${route.path}`] ?? 'admin');
}

/** @throws ProblemError  401 for a stranger who may show a token, 403 for who lacks the scope */
function check(
  caller: Caller | undefined,
  wanted: Scope | undefined,
  { env: { peer } }: Context<ApiEnv>,
): void {
  if (caller === undefined && peer.kind === 'unix') {
    const who = `uid ${peer.uid} (pid ${peer.pid})`;
    throw new ProblemError(403, `${who} has no scope here: see admin.allow of the config`);
  }
  if (caller === undefined) {
    throw new ProblemError(401, 'a bearer token is needed: Authorization: Bearer …');
  }
  if (isEnough(caller, wanted)) return;
  const has = [...caller.scopes].join(', ');
  throw new ProblemError(403, `the scope "${wanted}" is needed; ${nameOf(caller)} has ${has}`);
}
