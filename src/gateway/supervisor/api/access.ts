/** Who may talk to the API over TCP: a bearer of the token, and no web page. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import { ProblemError } from './problem.ts';

/** Open without a token: a probe has none, and they tell nothing but their answer. */
const OPEN_PATHS = new Set(['/healthz', '/readyz']);

/**
 * A page in a browser must not reach the API, whatever name it resolves to: a request that has an
 * `Origin` is one of a page, and a `Host` that is a foreign name is DNS rebinding.
 */
export function guardBrowser(): MiddlewareHandler {
  return async (context, next) => {
    if (context.req.header('Origin') !== undefined) {
      throw new ProblemError(403, 'requests of web pages are refused');
    }
    const host = context.req.header('Host') ?? '';
    if (!isPlainHost(host)) throw new ProblemError(403, `"${host}" is not a host of this API`);
    await next();
  };
}

/** The token is compared in constant time. */
export function requireToken(token: string): MiddlewareHandler {
  const wanted = digest(token);
  return async (context, next) => {
    if (!OPEN_PATHS.has(context.req.path)) {
      const [scheme, given] = (context.req.header('Authorization') ?? '').split(' ', 2);
      const isRight = timingSafeEqual(digest(given ?? ''), wanted);
      if (scheme?.toLowerCase() !== 'bearer' || !isRight) {
        throw new ProblemError(401, 'a bearer token is needed: Authorization: Bearer …');
      }
    }
    await next();
  };
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** An address or `localhost`, with or without a port; empty as HTTP/1.0 has it. */
function isPlainHost(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return name === '' || name === 'localhost' || isIP(name) !== 0;
}
