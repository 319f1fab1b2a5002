/**
 * The method CONNECT, the client's side: RFC 9110 §9.3.6, over HTTP/1.1 (RFC 9112). The answer is
 * taken byte by byte, up to the empty line behind its header: what follows is the target's.
 */
import { Errno } from '../../../ffi/errno.ts';
import { formatAddress } from '../../../stack/wire/ip-address.ts';
import { DIAL_TIMEOUT, type DialFailure, dialFailure } from '../forward/dial.ts';
import { PROXY_FAILED, type ProxyTalk, type ProxyTarget, TalkState } from './proxy-talk.ts';

/** More than any proxy says to a CONNECT; also of all interim answers together. */
const ANSWER_BYTES_MAX = 16 * 1024;
/** RFC 9112 §4, up to the digit behind the dot. */
const VERSION = 'HTTP/1.';
/** Digit behind the dot, space, three digits of the status. */
const STATUS_AT = VERSION.length + 2;
const STATUS_END = STATUS_AT + 3;

const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;
const ZERO = 0x30;

export class HttpConnectTalk implements ProxyTalk {
  readonly request: Uint8Array<ArrayBuffer>;
  failure: DialFailure = PROXY_FAILED;
  why = '';
  /** Bytes of the answer, and of its present line, so far. */
  #taken = 0;
  #inLine = 0;
  #isStatusLine = true;
  #status = 0;

  constructor(target: ProxyTarget, user: string, password: string) {
    const authority = authorityOf(target);
    const login = `${user}:${password}`;
    const lines = [
      `CONNECT ${authority} HTTP/1.1`,
      `Host: ${authority}`,
      ...(login === ':'
        ? []
        : [`Proxy-Authorization: Basic ${Buffer.from(login).toString('base64')}`]),
    ];
    this.request = new Uint8Array(new TextEncoder().encode(`${lines.join('\r\n')}\r\n\r\n`));
  }

  push(byte: number): TalkState {
    this.#taken++;
    if (this.#taken > ANSWER_BYTES_MAX) {
      return this.#fail(`the header of its answer is longer than ${ANSWER_BYTES_MAX} bytes`);
    }
    if (this.#isStatusLine && this.#inLine < STATUS_END) return this.#onStatusLine(byte);
    // RFC 9112 §2.2: a line may end without CR.
    if (byte === CR) return TalkState.WAIT;
    if (byte !== LF) {
      this.#inLine++;
      return TalkState.WAIT;
    }
    const isEmpty = this.#inLine === 0;
    this.#inLine = 0;
    if (this.#isStatusLine) {
      this.#isStatusLine = false;
      return this.#onStatus();
    }
    return isEmpty ? this.#onHeaderEnd() : TalkState.WAIT;
  }

  /** `HTTP/1.1 200` */
  #onStatusLine(byte: number): TalkState {
    const at = this.#inLine++;
    const digit = byte - ZERO;
    const isDigit = digit >= 0 && digit <= 9;
    const isRight =
      at < VERSION.length
        ? byte === VERSION.charCodeAt(at)
        : at === VERSION.length + 1
          ? byte === SPACE
          : isDigit;
    if (!isRight) return this.#fail('it does not answer in HTTP/1');
    if (at >= STATUS_AT) this.#status = this.#status * 10 + digit;
    return TalkState.WAIT;
  }

  /** The status line is over: what a refusal says besides is of no use. */
  #onStatus(): TalkState {
    const status = this.#status;
    if (status >= 100 && status < 300 && status !== 101) return TalkState.WAIT;
    this.failure = failureOf(status);
    return this.#fail(status === 407 ? 'HTTP 407: it wants user and password' : `HTTP ${status}`);
  }

  #onHeaderEnd(): TalkState {
    if (this.#status >= 200) return TalkState.DONE;
    // RFC 9110 §15.2: an interim answer, and the final one behind it.
    this.#status = 0;
    this.#isStatusLine = true;
    return TalkState.WAIT;
  }

  #fail(why: string): TalkState {
    this.why = why;
    return TalkState.FAILED;
  }
}

/** What a status tells of the target; the others tell of the proxy. */
function failureOf(status: number): DialFailure {
  switch (status) {
    case 403:
    case 451:
      return dialFailure(Errno.EACCES);
    // What proxies say when the target is not to be reached, for whatever reason.
    case 500:
    case 502:
    case 503:
      return dialFailure(0);
    case 504:
      return DIAL_TIMEOUT;
    default:
      return PROXY_FAILED;
  }
}

/** `10.0.0.1:443`, `[fd00::1]:443` */
function authorityOf({ view, at, family, port }: ProxyTarget): string {
  const ip = formatAddress(view, at, family === 4 ? 4 : 16);
  return family === 4 ? `${ip}:${port}` : `[${ip}]:${port}`;
}
