/**
 * HTTP/1.x without TLS: request line and Host, RFC 9112. A header section is taken as a whole or
 * not at all: whatever two servers could read in two ways (folded lines, a bare LF, a space before
 * the colon, a second Host) is no match.
 */
import { parseAuthority } from './authority.ts';
import { sniffHttp2 } from './http2.ts';
import type { Outcome } from './sniffed.ts';
import { CharacterClass, latin1, lowerCase, runEnd } from './text.ts';

const [TAB, LF, CR, SPACE, COLON] = [0x09, 0x0a, 0x0d, 0x20, 0x3a];
const [DIGIT_0, DIGIT_9] = [0x30, 0x39];

/** The longest one that is registered has 17. */
const METHOD_BYTES_MAX = 24;
/** Another digit follows: RFC 9112 §2.3. */
const VERSION = new TextEncoder().encode('HTTP/1.');
const HOST = new TextEncoder().encode('host');

export function sniffHttp(bytes: Uint8Array): Outcome {
  const http2 = sniffHttp2(bytes);
  return http2 === 'no-match' ? sniffHttp1(bytes) : http2;
}

/** Positions in a request line. */
interface RequestLine {
  readonly methodEnd: number;
  readonly targetEnd: number;
  readonly end: number;
}

function sniffHttp1(bytes: Uint8Array): Outcome {
  const line = readRequestLine(bytes);
  if (typeof line === 'string') return line;
  const host = readFields(bytes, line.end);
  if (typeof host === 'string') return host;
  return outcomeOf(bytes, line, host);
}

function readRequestLine(bytes: Uint8Array): RequestLine | 'need-more' | 'no-match' {
  const { length } = bytes;
  const methodEnd = runEnd(bytes, 0, CharacterClass.METHOD);
  if (methodEnd > METHOD_BYTES_MAX) return 'no-match';
  if (methodEnd === length) return 'need-more';
  if (methodEnd === 0 || bytes[methodEnd] !== SPACE) return 'no-match';
  const targetEnd = runEnd(bytes, methodEnd + 1, CharacterClass.VISIBLE);
  if (targetEnd === length) return 'need-more';
  if (targetEnd === methodEnd + 1 || bytes[targetEnd] !== SPACE) return 'no-match';
  let at = targetEnd;
  for (const byte of VERSION) {
    at++;
    if (at === length) return 'need-more';
    if (bytes[at] !== byte) return 'no-match';
  }
  const minor = bytes[at + 1] ?? DIGIT_0;
  if (minor < DIGIT_0 || minor > DIGIT_9) return 'no-match';
  if ((bytes[at + 2] ?? CR) !== CR || (bytes[at + 3] ?? LF) !== LF) return 'no-match';
  return at + 4 > length ? 'need-more' : { methodEnd, targetEnd, end: at + 4 };
}

/** Where the value of the Host field is; both 0 when there is no such field. */
interface HostField {
  readonly at: number;
  readonly end: number;
}
const NO_HOST: HostField = { at: 0, end: 0 };

/** Reads to the empty line. */
function readFields(bytes: Uint8Array, from: number): HostField | 'need-more' | 'no-match' {
  const { length } = bytes;
  let host = NO_HOST;
  let at = from;
  while (at < length) {
    if (bytes[at] === CR) {
      if (at + 1 === length) return 'need-more';
      return bytes[at + 1] === LF ? host : 'no-match';
    }
    const nameAt = at;
    at = runEnd(bytes, at, CharacterClass.TOKEN);
    if (at === length) return 'need-more';
    // A folded line begins with a space, and a name that ends with one is no name.
    if (at === nameAt || bytes[at] !== COLON) return 'no-match';
    const isHost = isHostName(bytes, nameAt, at);
    const valueAt = at + 1;
    at = runEnd(bytes, valueAt, CharacterClass.FIELD_VALUE);
    if (at + 1 >= length) return at < length && bytes[at] !== CR ? 'no-match' : 'need-more';
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return 'no-match';
    if (isHost) {
      if (host !== NO_HOST) return 'no-match';
      host = trimmed(bytes, valueAt, at);
    }
    at += 2;
  }
  return 'need-more';
}

/** RFC 9112 §3.2, the four forms of a target. */
function outcomeOf(bytes: Uint8Array, line: RequestLine, field: HostField): Outcome {
  const method = latin1(bytes, 0, line.methodEnd);
  const target = latin1(bytes, line.methodEnd + 1, line.targetEnd);
  const named = parseAuthority(latin1(bytes, field.at, field.end));
  if (named === undefined) return 'no-match';
  if (method === 'CONNECT') return withAuthority(method, '', target, named.text);
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) {
    return httpOf(method, named.host, target);
  }
  const absolute = /^https?:\/\/([^/?#]+)([^#]*)$/i.exec(target);
  if (absolute === null) return 'no-match';
  const [, authority = '', rest = ''] = absolute;
  return withAuthority(method, rest.startsWith('/') ? rest : `/${rest}`, authority, named.text);
}

/**
 * The target names the host, and the Host field says the same or nothing (RFC 9112 §3.2.2): a
 * server that looked at the other would serve another host than the gateway has seen.
 */
function withAuthority(method: string, path: string, authority: string, field: string): Outcome {
  const target = parseAuthority(authority);
  if (target === undefined || target.host === '') return 'no-match';
  if (field !== '' && field !== target.text) return 'no-match';
  return httpOf(method, target.host, path);
}

const httpOf = (method: string, host: string, path: string): Outcome =>
  host === '' ? { proto: 'http', method, path } : { proto: 'http', method, host, path };

function isHostName(bytes: Uint8Array, at: number, end: number): boolean {
  if (end - at !== HOST.length) return false;
  return HOST.every((byte, i) => lowerCase(bytes[at + i] ?? 0) === byte);
}

function trimmed(bytes: Uint8Array, from: number, to: number): HostField {
  const isBlank = (byte: number | undefined): boolean => byte === SPACE || byte === TAB;
  let [at, end] = [from, to];
  while (at < end && isBlank(bytes[at])) at++;
  while (end > at && isBlank(bytes[end - 1])) end--;
  return { at, end };
}
