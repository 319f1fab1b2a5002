/** Requests with a method that the route of their path does not have, RFC 9110 §15.5.6. */
import type { Context, Hono } from 'hono';
import type { ApiEnv } from './api-env.ts';
import { ProblemError, problemResponse } from './problem.ts';

/** Those of routes; HEAD is answered as GET is. */
const METHODS = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE'] as const;

/**
 * Answers what no route has answered: 405 with the methods that the path has, the bare list to
 * OPTIONS, and 404 where there is no such path.
 */
export function answerUnrouted(app: Hono<ApiEnv>, { req }: Context<ApiEnv>): Response {
  const methods = METHODS.filter((method) => hasRoute(app, method, req.path));
  if (methods.length === 0) {
    throw new ProblemError(404, 'there is nothing here; GET /v1/openapi.json lists what is');
  }
  const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  const names = [...allow, 'OPTIONS'].join(', ');
  if (req.method === 'OPTIONS')
    return new Response(null, { status: 204, headers: { Allow: names } });
  const response = problemResponse(new ProblemError(405, `${req.path} has the methods ${names}`));
  response.headers.set('Allow', names);
  return response;
}

/** What is for all methods is middleware. */
const hasRoute = ({ router }: Hono<ApiEnv>, method: string, path: string): boolean =>
  router.match(method, path)[0].some(([[, { method: own }]]) => own !== 'ALL');
