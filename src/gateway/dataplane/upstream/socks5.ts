/**
 * SOCKS version 5, the client's side: RFC 1928, and RFC 1929 for user and password. A machine of
 * states that takes the answers byte by byte: it never takes one that is the target's already.
 */

import { Errno } from '../../../ffi/errno.ts';
import type { DialFailure } from '../forward/dial.ts';
import { DIAL_TIMEOUT, dialFailure } from '../forward/dial.ts';
import { PROXY_FAILED, type ProxyTalk, type ProxyTarget, TalkState } from './proxy-talk.ts';

const VERSION = 5;
/** RFC 1929 §2 */
const LOGIN_VERSION = 1;
const Method = { NONE: 0, LOGIN: 2, UNACCEPTABLE: 0xff } as const;
const COMMAND_CONNECT = 1;
const AddressType = { IPV4: 1, NAME: 3, IPV6: 4 } as const;
/** Address of the reply, by its type; a name says itself how long it is. */
const PORT_BYTES = 2;

/** RFC 1928 §6, REP, as text for people. */
const REPLIES: readonly string[] = [
  'succeeded',
  'general failure',
  'not allowed by its rules',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'TTL expired',
  'command not supported',
  'address type not supported',
];

/** What of the answer comes next. */
const Step = {
  METHOD_VERSION: 0,
  METHOD: 1,
  LOGIN_VERSION: 2,
  LOGIN_STATUS: 3,
  REPLY_VERSION: 4,
  REPLY: 5,
  RESERVED: 6,
  ADDRESS_TYPE: 7,
  NAME_LENGTH: 8,
  REST: 9,
} as const;
type Step = (typeof Step)[keyof typeof Step];

const utf8 = new TextEncoder();

export class Socks5Talk implements ProxyTalk {
  request: Uint8Array<ArrayBuffer>;
  failure: DialFailure = PROXY_FAILED;
  why = '';
  readonly #target: ProxyTarget;
  readonly #user: string;
  readonly #password: string;
  #step: Step = Step.METHOD_VERSION;
  /** Bytes of the address and port of the reply that are still to come. */
  #left = 0;

  /** @param user  empty for none: then the proxy must want none */
  constructor(target: ProxyTarget, user: string, password: string) {
    this.#target = target;
    this.#user = user;
    this.#password = password;
    this.request =
      user === ''
        ? Uint8Array.of(VERSION, 1, Method.NONE)
        : Uint8Array.of(VERSION, 2, Method.NONE, Method.LOGIN);
  }

  push(byte: number): TalkState {
    switch (this.#step) {
      case Step.METHOD_VERSION:
        return byte === VERSION ? this.#next(Step.METHOD) : this.#garbage(byte);
      case Step.METHOD:
        return this.#onMethod(byte);
      case Step.LOGIN_VERSION:
        return byte === LOGIN_VERSION ? this.#next(Step.LOGIN_STATUS) : this.#garbage(byte);
      case Step.LOGIN_STATUS:
        return byte === 0 ? this.#ask() : this.#fail('it refuses user and password');
      case Step.REPLY_VERSION:
        return byte === VERSION ? this.#next(Step.REPLY) : this.#garbage(byte);
      case Step.REPLY:
        return byte === 0 ? this.#next(Step.RESERVED) : this.#onRefusal(byte);
      case Step.RESERVED:
        return this.#next(Step.ADDRESS_TYPE);
      case Step.ADDRESS_TYPE:
        return this.#onAddressType(byte);
      case Step.NAME_LENGTH:
        this.#left = byte + PORT_BYTES;
        return this.#next(Step.REST);
      case Step.REST:
        this.#left--;
        return this.#left === 0 ? TalkState.DONE : TalkState.WAIT;
    }
  }

  #onMethod(method: number): TalkState {
    if (method === Method.NONE) return this.#ask();
    if (method === Method.UNACCEPTABLE) {
      const given = this.#user === '' ? 'it wants user and password' : 'no way to log in suits it';
      return this.#fail(given);
    }
    if (method !== Method.LOGIN || this.#user === '') return this.#garbage(method);
    this.request = loginRequest(this.#user, this.#password);
    this.#step = Step.LOGIN_VERSION;
    return TalkState.SEND;
  }

  #ask(): TalkState {
    this.request = connectRequest(this.#target);
    this.#step = Step.REPLY_VERSION;
    return TalkState.SEND;
  }

  /** What follows such a reply is of no use: the proxy closes. */
  #onRefusal(reply: number): TalkState {
    this.failure = failureOf(reply);
    this.why = `SOCKS reply ${reply}: ${REPLIES[reply] ?? 'unassigned'}`;
    return TalkState.FAILED;
  }

  #onAddressType(type: number): TalkState {
    if (type === AddressType.NAME) return this.#next(Step.NAME_LENGTH);
    if (type !== AddressType.IPV4 && type !== AddressType.IPV6) return this.#garbage(type);
    this.#left = (type === AddressType.IPV4 ? 4 : 16) + PORT_BYTES;
    return this.#next(Step.REST);
  }

  #next(step: Step): TalkState {
    this.#step = step;
    return TalkState.WAIT;
  }

  #garbage(byte: number): TalkState {
    return this.#fail(`it does not speak SOCKS5: byte ${byte}`);
  }

  #fail(why: string): TalkState {
    this.why = why;
    return TalkState.FAILED;
  }
}

/** The reply codes tell of the target, but for those that tell of the proxy. */
function failureOf(reply: number): DialFailure {
  switch (reply) {
    case 1:
      return dialFailure(0);
    case 2:
      return dialFailure(Errno.EACCES);
    case 3:
      return dialFailure(Errno.ENETUNREACH);
    case 4:
      return dialFailure(Errno.EHOSTUNREACH);
    case 5:
      return dialFailure(Errno.ECONNREFUSED);
    case 6:
      return DIAL_TIMEOUT;
    default:
      return PROXY_FAILED;
  }
}

/** RFC 1929 §2 */
function loginRequest(user: string, password: string): Uint8Array<ArrayBuffer> {
  const [name, secret] = [utf8.encode(user), utf8.encode(password)];
  return Uint8Array.of(LOGIN_VERSION, name.length, ...name, secret.length, ...secret);
}

/** RFC 1928 §4 */
function connectRequest({ view, at, family, port }: ProxyTarget): Uint8Array<ArrayBuffer> {
  const length = family === 4 ? 4 : 16;
  const type = family === 4 ? AddressType.IPV4 : AddressType.IPV6;
  const request = new Uint8Array(4 + length + PORT_BYTES);
  request.set([VERSION, COMMAND_CONNECT, 0, type]);
  for (let i = 0; i < length; i++) request[4 + i] = view.getUint8(at + i);
  new DataView(request.buffer).setUint16(4 + length, port);
  return request;
}
