/** No web page reaches the API, whatever name it resolves to. */
import { isIP } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import type { ApiEnv } from './api-env.ts';
import type { ControlPlane } from './control-plane.ts';
import { ProblemError } from './problem.ts';

/**
 * A request that has an `Origin` is one of a page, and a `Host` that is a foreign name is DNS
 * rebinding; `admin.hosts` has those that are not foreign. There are no CORS headers, and so no
 * page of another origin can read an answer; WebSockets know no CORS, and are refused here. Where
 * dashboards are wanted, a page of this very origin is let through, as a proxy in front of both
 * has it; it needs its token like everybody.
 *
 * A page reaches a unix socket by such a proxy, which may know its user by a password that the
 * browser sends along for any page: foreign origins are refused there too. But `Host` is a name
 * that the clients of a socket make up.
 */
export function guardBrowser({ config }: Pick<ControlPlane, 'config'>): MiddlewareHandler<ApiEnv> {
  return async (context, next) => {
    const isUnix = context.env.peer.kind === 'unix';
    const origin = context.req.header('Origin');
    const host = context.req.header('Host') ?? '';
    const isOwn = (isUnix || config.isClash) && isOriginOf(host, origin);
    if (origin !== undefined && !isOwn) {
      throw new ProblemError(403, 'requests of web pages are refused');
    }
    if (isUnix) return next();
    if (!isHost(host, config.hosts)) {
      throw new ProblemError(
        403,
        `"${host}" is not a host of this API: see admin.hosts of the config`,
      );
    }
    await next();
  };
}

/** The proxy speaks TLS or not, which is not seen from here. */
const isOriginOf = (host: string, origin: string | undefined): boolean =>
  ['http', 'https'].some((scheme) => origin?.toLowerCase() === `${scheme}://${host}`.toLowerCase());

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
