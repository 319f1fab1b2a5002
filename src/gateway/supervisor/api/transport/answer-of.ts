/** What the routes say to a request as node:http reads it. */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { Peer } from '../callers.ts';
import { ProblemError, problemResponse } from '../problem.ts';

/** Answers a request; what a Hono app has as `fetch`. */
export type Handler = (
  request: Request,
  env: { readonly peer: Peer },
) => Response | Promise<Response>;

/** Far more than a client needs; each costs a string. */
const HEADERS_MAX = 100;
/**
 * A browser cannot set `Authorization` on a WebSocket, and a token in a URL ends in logs: so the
 * token may be offered as a protocol, behind this and as base64url.
 */
const BEARER_PROTOCOL = 'bearer.';

/** @param signal  says that the client is gone */
export async function answerOf(
  message: IncomingMessage,
  peer: Peer,
  handler: Handler,
  signal: AbortSignal,
): Promise<Response> {
  try {
    return await handler(toRequest(message, signal), { peer });
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    return problemResponse(error);
  }
}

/** @throws ProblemError  400 or 431: no route should see it */
function toRequest(message: IncomingMessage, signal: AbortSignal): Request {
  const method = message.method ?? 'GET';
  const hasBody = method !== 'GET' && method !== 'HEAD';
  try {
    return new Request(urlOf(message), {
      method,
      headers: headersOf(message),
      signal,
      ...(hasBody && { body: Readable.toWeb(message) as ReadableStream, duplex: 'half' }),
    });
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new ProblemError(400, 'the request line or a header cannot be used');
  }
}

/** The host is looked at as the header that it is; here it would only be one more to distrust. */
function urlOf({ url = '' }: IncomingMessage): string {
  if (!url.startsWith('/')) throw new ProblemError(400, 'expected a path as request target');
  return `http://localhost${url}`;
}

/** @throws ProblemError  for too many, and for none or several hosts (RFC 9112 §3.2) */
function headersOf({ rawHeaders, httpVersion, headers: parsed }: IncomingMessage): Headers {
  if (rawHeaders.length / 2 > HEADERS_MAX) {
    throw new ProblemError(431, `more than ${HEADERS_MAX} headers`);
  }
  const headers = new Headers();
  let hosts = 0;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    if (name.toLowerCase() === 'host') hosts++;
    headers.append(name, rawHeaders[i + 1] ?? '');
  }
  if (hosts > 1 || (hosts === 0 && httpVersion !== '1.0')) {
    throw new ProblemError(400, 'expected one Host header');
  }
  const token = offeredToken(parsed['sec-websocket-protocol']);
  if (token !== undefined && !headers.has('Authorization')) {
    headers.set('Authorization', `Bearer ${token}`);
  }
  return headers;
}

function offeredToken(protocols = ''): string | undefined {
  const offered = protocols.split(/\s*,\s*/).find((name) => name.startsWith(BEARER_PROTOCOL));
  if (offered === undefined) return undefined;
  const token = Buffer.from(offered.slice(BEARER_PROTOCOL.length), 'base64url').toString('latin1');
  return /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}
