/** No web page reaches the API, whatever name it resolves to. */
import { isIP } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import type { ApiEnv } from './api-env.ts';
import { ProblemError } from './problem.ts';

/**
 * A request that has an `Origin` is one of a page, and a `Host` that is a foreign name is DNS
 * rebinding. There are no CORS headers, and so no page of another origin can read an answer.
 * Where dashboards are wanted, a page of this very origin is let through, as a proxy in front of
 * both has it; it needs its token like everybody.
 *
 * No page reaches a unix socket, and the clients of that make up a host name.
 */
export function guardBrowser(isClash: () => boolean): MiddlewareHandler<ApiEnv> {
  return async (context, next) => {
    if (context.env.peer.kind === 'unix') return next();
    const origin = context.req.header('Origin');
    const isOwn = isClash() && origin === `http://${context.req.header('Host')}`;
    if (origin !== undefined && !isOwn) {
      throw new ProblemError(403, 'requests of web pages are refused');
    }
    const host = context.req.header('Host') ?? '';
    if (!isPlainHost(host)) throw new ProblemError(403, `"${host}" is not a host of this API`);
    await next();
  };
}

/** An address or `localhost`, with or without a port; empty as HTTP/1.0 has it. */
function isPlainHost(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return name === '' || name === 'localhost' || isIP(name) !== 0;
}
