/**
 * A dial by way of an upstream that has a name: where it goes next, with what options, and what is
 * said to a proxy. It holds no socket: whoever dials asks it, and tells it how it went.
 *
 *   next → (socket, connect) → advance … → DONE: connected to whom the flow is for
 *              └─ failed ─────────┴─ failed → next, until there is no address left
 */
import { Errno, errnoName } from '../../../ffi/errno.ts';
import { CloseReason } from '../../../stack/close-reason.ts';
import type { Instant } from '../../../stack/time.ts';
import { DIAL_LOOP, DIAL_TIMEOUT, type DialFailure, type DialOptions } from '../forward/dial.ts';
import type { UpstreamAddress } from './address.ts';
import { HttpConnectTalk } from './http-connect.ts';
import { NO_ADDRESS } from './pool.ts';
import { ProxyConversation, type ProxyTalk, type ProxyTarget, TalkState } from './proxy-talk.ts';
import { Socks5Talk } from './socks5.ts';
import { DIAL_FAILED, type Upstream } from './upstream.ts';
import { NO_SLOT, type Upstreams } from './upstreams.ts';

/** What whoever dials wants itself; it goes before what the upstream says. */
export interface ViaWish {
  /** Undefined for that of the upstream, or of `egress`. */
  readonly mark: number | undefined;
  /** Empty for that of the upstream. */
  readonly bind: string;
  /** 0 for that of the upstream, or of the configuration. */
  readonly connectTimeoutMs: number;
}

/** What holds where nobody says otherwise. */
export interface DialDefaults {
  readonly fwmark: number;
  readonly interface: string;
  readonly connectMs: number;
}

/** These say nothing of the far side: to try another address would not help. */
const OUR_OWN: readonly number[] = [
  Errno.EMFILE,
  Errno.ENFILE,
  Errno.ENOBUFS,
  Errno.ENOMEM,
  Errno.EPERM,
  Errno.ENODEV,
  Errno.EADDRNOTAVAIL,
];

export interface ViaRequest {
  /** Where the flow is to go, for which a proxy is asked. */
  readonly target: ProxyTarget;
  readonly wish: ViaWish;
  readonly defaults: DialDefaults;
  /** The same for all flows of a client. */
  readonly clientHash: number;
}

export class ViaDial {
  readonly upstream: Upstream;
  /** Where the socket is to be connected to; valid after `next`. */
  to: ProxyTarget;
  readonly timeoutMs: number;
  readonly #upstreams: Upstreams;
  readonly #target: ProxyTarget;
  readonly #wish: ViaWish;
  readonly #defaults: DialDefaults;
  readonly #clientHash: number;
  readonly #tried: Uint8Array;
  #triesLeft: number;
  #startedAt = 0 as Instant;
  #address: UpstreamAddress | undefined;
  #conversation: ProxyConversation | undefined;

  constructor(upstreams: Upstreams, upstream: Upstream, request: ViaRequest) {
    const { target, wish, defaults, clientHash } = request;
    const { rule } = upstream;
    this.upstream = upstream;
    this.to = target;
    this.timeoutMs = wish.connectTimeoutMs || (rule.connectTimeoutMs ?? defaults.connectMs);
    this.#upstreams = upstreams;
    this.#target = target;
    this.#wish = wish;
    this.#defaults = defaults;
    this.#clientHash = clientHash;
    this.#tried = new Uint8Array(upstream.addresses.length);
    this.#triesLeft = rule.kind === 'pool' ? rule.retries + 1 : 1;
  }

  /** Slot of the address that is dialled; NO_SLOT for none. */
  get slot(): number {
    return this.#address?.slot ?? NO_SLOT;
  }

  /** Whom bytes reach once it is done: with a proxy it is not to whom the socket is connected. */
  get leadsTo(): ProxyTarget {
    return this.upstream.kind === 'proxy' ? this.#target : this.to;
  }

  get options(): DialOptions {
    const { rule } = this.upstream;
    return {
      mark: this.#wish.mark ?? rule.fwmark ?? this.#defaults.fwmark,
      interface: rule.interface ?? this.#defaults.interface,
      bind: this.#wish.bind || this.upstream.source(this.to.family),
    };
  }

  /** Chooses where to dial to. @returns false when nothing is left */
  next(now: Instant): boolean {
    if (this.#triesLeft === 0) return false;
    const { pool, addresses } = this.upstream;
    const position = pool === undefined ? 0 : pool.pick(this.#tried, this.#clientHash, now);
    if (position === NO_ADDRESS) return false;
    this.#triesLeft--;
    this.#startedAt = now;
    this.#conversation = undefined;
    const address = addresses[position];
    if (address === undefined) return true;
    this.#tried[position] = 1;
    this.#address = address;
    this.#upstreams.enter(address, this.upstream);
    this.to = { view: address.view, at: 0, family: address.family, port: address.port };
    return true;
  }

  /**
   * The socket is connected, or has something to say.
   *
   * @returns WAIT, DONE, or FAILED for the reason in `failure`
   */
  advance(fd: number, now: Instant): TalkState {
    const { rule } = this.upstream;
    if (rule.kind === 'proxy') {
      this.#conversation ??= new ProxyConversation(this.#talk(rule));
      const state = this.#conversation.advance(fd);
      if (state !== TalkState.DONE) return state;
    }
    this.#succeeded(now);
    return TalkState.DONE;
  }

  get isTalking(): boolean {
    return this.#conversation !== undefined;
  }

  /** Of a talk that failed. */
  get failure(): DialFailure {
    return this.#conversation?.failure ?? DIAL_TIMEOUT;
  }

  /**
   * The dial that `next` began has failed.
   *
   * @param errno  0 where it is not known
   * @returns      whether another address may be tried
   */
  failed(failure: DialFailure, errno: number, now: Instant): boolean {
    const { upstream } = this;
    upstream.count(DIAL_FAILED);
    const address = this.#address;
    this.#address = undefined;
    const isOurs = OUR_OWN.includes(errno) || failure === DIAL_LOOP;
    if (address === undefined) return false;
    const isItsFault = !isOurs && this.#isAddressAtFault(failure);
    if (address.failed(upstream.health, this.#whyOf(failure, errno), isItsFault, now)) {
      this.#upstreams.noteHealth(upstream, address, false);
    }
    this.#upstreams.leave(address.slot);
    return failure === DIAL_LOOP || !isOurs;
  }

  /** Nobody waits for it any more; the flow leaves its slot itself. */
  abandoned(): void {
    this.#address?.abandoned();
  }

  #succeeded(now: Instant): void {
    const { upstream } = this;
    const address = this.#address;
    upstream.count(now - this.#startedAt);
    if (address?.succeeded(upstream.health)) this.#upstreams.noteHealth(upstream, address, true);
  }

  #talk(rule: Extract<Upstream['rule'], { kind: 'proxy' }>): ProxyTalk {
    const { protocol, user, password } = rule;
    return protocol === 'socks5'
      ? new Socks5Talk(this.#target, user, password)
      : new HttpConnectTalk(this.#target, user, password);
  }

  /** A proxy that says how the target refused works well itself. */
  #isAddressAtFault({ reason }: DialFailure): boolean {
    return !this.isTalking || reason === CloseReason.PROXY_FAILED;
  }

  #whyOf({ reason }: DialFailure, errno: number): string {
    if (this.#conversation !== undefined && this.#conversation.why !== '') {
      return this.#conversation.why;
    }
    if (errno !== 0) return errnoName(errno);
    return reason === CloseReason.DIAL_LOOP ? 'its route is our own device' : 'no answer in time';
  }
}
