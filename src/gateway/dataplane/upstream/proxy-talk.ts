/**
 * What is said to a proxy before it hands us through to the target. The talk itself is a machine of
 * states that knows no socket (socks5.ts, http-connect.ts); here it gets its bytes. They are looked
 * at where they lie, and only those that the proxy said are taken: what the target has sent behind
 * them stays in the kernel, for the splice.
 */
import { Errno, errnoName } from '../../../ffi/errno.ts';
import { addressOf, allocateStruct } from '../../../ffi/memory.ts';
import { peek, receive, send } from '../../../ffi/sockets.ts';
import { CloseReason } from '../../../stack/close-reason.ts';
import { IcmpErrorKind } from '../../../stack/icmp-error-kind.ts';
import { type DialFailure, dialFailure } from '../forward/dial.ts';

/** The proxy itself is at fault: it refuses us, or what it says makes no sense. */
export const PROXY_FAILED: DialFailure = {
  reason: CloseReason.PROXY_FAILED,
  how: 'rst',
  code: IcmpErrorKind.HOST,
};

export const TalkState = {
  /** More of the answer is to come. */
  WAIT: 0,
  /** There is a new request. */
  SEND: 1,
  /** From the next byte on it is the target that speaks. */
  DONE: 2,
  FAILED: 3,
} as const;
export type TalkState = (typeof TalkState)[keyof typeof TalkState];

/** Where the proxy is to connect to; an address in network order. */
export interface ProxyTarget {
  readonly view: DataView;
  readonly at: number;
  readonly family: 4 | 6;
  readonly port: number;
}

export interface ProxyTalk {
  /** What is to be said now. */
  readonly request: Uint8Array<ArrayBuffer>;
  /** Of a talk that failed: what it means for the flow, and in words. */
  readonly failure: DialFailure;
  readonly why: string;
  /** Takes a byte of the answer. */
  push(byte: number): TalkState;
}

/** Looked at with one call; nobody sees it between two. */
const scratch = allocateStruct(4096);
const CLOSED = 'it closed the connection';

export class ProxyConversation {
  readonly #talk: ProxyTalk;
  #sent = 0;
  #failure: DialFailure | undefined;
  #why = '';

  constructor(talk: ProxyTalk) {
    this.#talk = talk;
  }

  /** Of a conversation that failed. */
  get failure(): DialFailure {
    return this.#failure ?? this.#talk.failure;
  }

  get why(): string {
    return this.#why === '' ? this.#talk.why : this.#why;
  }

  /** Goes on as far as it does without waiting; sockets are edge-triggered. */
  advance(fd: number): TalkState {
    for (;;) {
      const sent = this.#say(fd);
      if (sent !== TalkState.SEND) return sent;
      const state = this.#hear(fd);
      if (state !== TalkState.SEND) return state;
      this.#sent = 0;
    }
  }

  /** @returns SEND when all of the request is out */
  #say(fd: number): TalkState {
    const { request } = this.#talk;
    while (this.#sent < request.length) {
      const at = addressOf(request.buffer) + request.byteOffset + this.#sent;
      const sent = send(fd, at, request.length - this.#sent);
      if (sent === -Errno.EINTR) continue;
      if (sent === -Errno.EAGAIN) return TalkState.WAIT;
      if (sent < 0) return this.#broken(-sent);
      this.#sent += sent;
    }
    return TalkState.SEND;
  }

  #hear(fd: number): TalkState {
    for (;;) {
      const got = peek(fd, scratch.address, scratch.bytes.length);
      if (got === -Errno.EINTR) continue;
      if (got === -Errno.EAGAIN) return TalkState.WAIT;
      if (got < 0) return this.#broken(-got);
      if (got === 0) {
        this.#failure = PROXY_FAILED;
        this.#why = CLOSED;
        return TalkState.FAILED;
      }
      let state: TalkState = TalkState.WAIT;
      let taken = 0;
      while (taken < got && state === TalkState.WAIT) {
        state = this.#talk.push(scratch.bytes[taken]!);
        taken++;
      }
      receive(fd, scratch.address, taken);
      if (state !== TalkState.WAIT) return state;
    }
  }

  #broken(errno: number): TalkState {
    this.#failure = errno === Errno.ECONNRESET ? PROXY_FAILED : dialFailure(errno);
    this.#why = errno === Errno.ECONNRESET ? CLOSED : errnoName(errno);
    return TalkState.FAILED;
  }
}
