/** No web page reaches the API, whatever name it resolves to. */
import { isIP } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import type { ApiEnv } from './api-env.ts';
import type { ControlPlane } from './control-plane.ts';
import { ProblemError } from './problem.ts';

/**
 * A request that has an `Origin` is one of a page, and a `Host` that is a foreign name is DNS
 * rebinding; `admin.hosts` has those that are not foreign. There are no CORS headers, and so no
 * page of another origin can read an answer. Where dashboards are wanted, a page of this very
 * origin is let through, as a proxy in front of both has it; it needs its token like everybody.
 *
 * No page reaches a unix socket, and the clients of that make up a host name.
 */
export function guardBrowser({ config }: Pick<ControlPlane, 'config'>): MiddlewareHandler<ApiEnv> {
  return async (context, next) => {
    if (context.env.peer.kind === 'unix') return next();
    const origin = context.req.header('Origin');
    const isOwn = config.isClash && origin === `http://${context.req.header('Host')}`;
    if (origin !== undefined && !isOwn) {
      throw new ProblemError(403, 'requests of web pages are refused');
    }
    const host = context.req.header('Host') ?? '';
    if (!isHost(host, config.hosts)) {
      throw new ProblemError(
        403,
        `"${host}" is not a host of this API: see admin.hosts of the config`,
      );
    }
    await next();
  };
}

/**
 * An address, `localhost` or one of the names, with or without a port; empty as HTTP/1.0 has it.
 */
function isHost(host: string, names: readonly string[]): boolean {
  const name = host
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase();
  if (name === '' || name === 'localhost' || isIP(name) !== 0) return true;
  return names.some((known) => known.toLowerCase() === name);
}
