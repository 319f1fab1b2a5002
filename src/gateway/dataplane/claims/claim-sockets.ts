/**
 * Sockets of the kernel that scripts dial for the connections that they claimed, as dialer.ts does
 * it for a verdict. Nothing here waits; how a dial ended is noted in its end.
 */
import { type Epoll, EpollEvent } from '../../../ffi/epoll.ts';
import { Errno } from '../../../ffi/errno.ts';
import { closeFd, localAddress, resetOnClose, takeError } from '../../../ffi/sockets.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { Histogram } from '../../../stack/histograms.ts';
import { after, type Instant, millis, NEVER } from '../../../stack/time.ts';
import { formatAddress } from '../../../stack/wire/ip-address.ts';
import { DialResult } from '../../messages/conn.ts';
import type { ConnMessage } from '../../messages/conn-decode.ts';
import type { SocketEnds } from '../../messages/conn-encode.ts';
import type { LiveConfig } from '../../messages/control.ts';
import { FdPort } from '../fd-port.ts';
import {
  DIAL_LOOP,
  DIAL_TIMEOUT,
  type DialFailure,
  dialFailure,
  openSocket,
  startConnect,
} from '../forward/dial.ts';
import { failedDial, resultOfErrno, resultOfReason, withoutDial } from '../forward/dial-result.ts';
import { UPSTREAM_EVENTS } from '../forward/upstream-table.ts';
import type { LoopGuard } from '../loop-guard.ts';
import { type ProxyTarget, TalkState } from '../upstream/proxy-talk.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { NO_SLOT, type Upstreams } from '../upstream/upstreams.ts';
import { ViaDial } from '../upstream/via-dial.ts';
import type { ClaimEnd } from './claim.ts';

/** Above the tokens of flows, which have 31 bits: a number that changes, and a slot. */
export const FIRST_CLAIM_TOKEN = 0x8000_0000;
const SLOT_BITS = 16;
const SLOT_MASK = (1 << SLOT_BITS) - 1;
const TURN_MASK = 0x7fff;
/** More cannot be told apart in a token. */
const SLOTS_MAX = 1 << SLOT_BITS;

/** The kernel would send it into our own device; above all errnos. */
const LOOP = 1;
const fromAscii = new TextDecoder();

/** A socket from its dial until it is closed, or becomes the upstream of its flow. */
interface Slot {
  readonly end: ClaimEnd;
  readonly port: FdPort;
  readonly token: number;
  readonly startedAt: Instant;
  /** The dial, when it is by way of an upstream that has a name. */
  readonly via: ViaDial | undefined;
}

export interface ClaimSocketsParts {
  readonly epoll: Epoll;
  readonly counters: Counters;
  readonly guard: LoopGuard;
  readonly vias: Upstreams;
  /** Address of the arena's first byte, for the kernel. */
  readonly base: number;
}

export class ClaimSockets {
  readonly #epoll: Epoll;
  readonly #counters: Counters;
  readonly #guard: LoopGuard;
  readonly #vias: Upstreams;
  readonly #base: number;
  readonly #slots: (Slot | undefined)[] = [];
  /** Of these slots, those that are free; the last is taken first. */
  readonly #free: number[] = [];
  readonly #most: number;
  #limit: number;
  /** Of claims without a client. */
  #ownSockets = 0;
  #turn = 0;
  #egress: Pick<LiveConfig['egress'], 'fwmark' | 'interface'> = { fwmark: 0, interface: '' };
  #connectMs = 0;

  /** @param most  sockets that there may ever be at a time */
  constructor({ epoll, counters, guard, vias, base }: ClaimSocketsParts, most: number) {
    this.#epoll = epoll;
    this.#counters = counters;
    this.#guard = guard;
    this.#vias = vias;
    this.#base = base;
    this.#most = Math.min(most, SLOTS_MAX);
    this.#limit = this.#most;
    this.#report();
  }

  configure(live: LiveConfig): void {
    this.#egress = live.egress;
    this.#connectMs = live.timeouts.connectMs;
  }

  /** Sockets that there may be at a time; those beyond it stay open. */
  setLimit(sockets: number): void {
    this.#limit = Math.min(sockets, this.#most);
  }

  /** When a dial that begins now and has its own time-out, or 0, is given up. */
  deadline(timeoutMs: number, now: Instant): Instant {
    return after(now, millis(timeoutMs > 0 ? timeoutMs : this.#connectMs));
  }

  /**
   * Dials what the message names, whose addresses lie in `view`; `end.dialed` may tell at once.
   *
   * @param clientHash  of upstream/client-hash.ts
   */
  dial(
    end: ClaimEnd,
    message: ConnMessage,
    view: DataView,
    clientHash: number,
    now: Instant,
  ): void {
    const upstream = this.#vias.choose(viaOf(message, view));
    if (upstream === undefined) this.#dialDirect(end, message, view, now);
    else if (upstream === 'unknown') withoutDial(end, DialResult.FAILED);
    else this.#dialVia(end, upstream, message, view, clientHash, now);
  }

  #dialDirect(end: ClaimEnd, message: ConnMessage, view: DataView, now: Instant): void {
    const { addressAt, localAt, localFamily } = message;
    const family = message.family === 4 ? 4 : 6;
    const mark = message.mark < 0 ? this.#egress.fwmark : message.mark;
    const egress = this.#egress.interface;
    if (this.#guard.isLoopFrom(view, addressAt, family, mark, egress, now)) {
      failedDial(end, DialResult.LOOP, this.#counters);
      return;
    }
    const index = this.#freeSlot();
    if (index === undefined) {
      failedDial(end, DialResult.LIMIT, this.#counters);
      return;
    }
    const bind = localFamily === 0 ? '' : formatAddress(view, localAt, localFamily === 4 ? 4 : 16);
    const fd = openSocket(family, { mark, interface: egress, bind });
    if (fd < 0) {
      failedDial(end, resultOfErrno(-fd), this.#counters);
      return;
    }
    const to = { view, at: addressAt, family, port: message.port } as const;
    const result = this.#connect(end, fd, index, to, undefined, now);
    if (result >= 0) return;
    this.abort(end);
    failedDial(end, resultOfErrno(-result), this.#counters);
  }

  /** The socket of an event, with what the event says noted; undefined when it is closed. */
  onEvent(token: number, events: number, now: Instant): ClaimEnd | undefined {
    const slot = this.#slots[token & SLOT_MASK];
    if (slot === undefined || slot.token !== token) return undefined;
    const { end, port } = slot;
    if (end.dialed === undefined) this.#finishConnect(slot, events, now);
    if (end.dialed !== DialResult.OK) return end;
    const ends = EpollEvent.RDHUP | EpollEvent.HUP | EpollEvent.ERR;
    if ((events & EpollEvent.OUT) !== 0) port.isWritable = true;
    if ((events & (EpollEvent.IN | EpollEvent.PRI | ends)) !== 0) port.isReadable = true;
    if ((events & ends) !== 0) port.isEnding = true;
    return end;
  }

  /** The time for the dial is over; `end.deadline` says whether another one has begun. */
  onTimeout(end: ClaimEnd, now: Instant): void {
    const via = this.#viaOfEnd(end);
    if (via !== undefined) {
      this.#viaFailed(end, via, DIAL_TIMEOUT, 0, now);
      return;
    }
    this.abort(end);
    failedDial(end, DialResult.TIMEOUT, this.#counters);
  }

  /** Closes the socket that `end` has, if it has one of the kernel. */
  close(end: ClaimEnd): void {
    const { port } = end;
    if (!(port instanceof FdPort)) return;
    closeFd(port.fd);
    this.#release(end, port);
  }

  /** As `close`, and the far side sees a reset. */
  abort(end: ClaimEnd): void {
    if (end.port instanceof FdPort) resetOnClose(end.port.fd);
    this.close(end);
  }

  /** Gives the socket away, open, to be watched with another token. @returns its descriptor */
  handOver(end: ClaimEnd, port: FdPort, token: number): number {
    port.upstreamSlot = NO_SLOT;
    this.#release(end, port);
    this.#epoll.modify(port.fd, UPSTREAM_EVENTS, token);
    return port.fd;
  }

  /** @returns a negative errno when it failed at once */
  #connect(
    end: ClaimEnd,
    fd: number,
    index: number,
    { view, at, family, port }: ProxyTarget,
    via: ViaDial | undefined,
    now: Instant,
  ): number {
    this.#turn = (this.#turn + 1) & TURN_MASK;
    const token = FIRST_CLAIM_TOKEN + this.#turn * SLOTS_MAX + index;
    const socket = new FdPort(fd, index, this.#base);
    end.port = socket;
    this.#free.pop();
    this.#slots[index] = { end, port: socket, token, startedAt: now, via };
    socket.upstreamId = via?.upstream.rule.id ?? 0;
    socket.upstreamSlot = via?.slot ?? NO_SLOT;
    this.#count(end, 1);
    const watched = this.#epoll.add(fd, UPSTREAM_EVENTS, token);
    if (watched < 0) return watched;
    const result = startConnect(fd, view, at, family, port);
    end.ends = endsTo(via?.leadsTo ?? { view, at, family, port });
    return result;
  }

  get #used(): number {
    return this.#slots.length - this.#free.length;
  }

  /** Where another socket has its place; undefined when there are as many as may be. */
  #freeSlot(): number | undefined {
    if (this.#used >= this.#limit) return undefined;
    return this.#free.at(-1) ?? this.#slots.length;
  }

  #dialVia(
    end: ClaimEnd,
    upstream: Upstream,
    message: ConnMessage,
    view: DataView,
    clientHash: number,
    now: Instant,
  ): void {
    const { mark, localAt, localFamily, timeoutMs } = message;
    const { fwmark, interface: device } = this.#egress;
    const via = new ViaDial(this.#vias, upstream, {
      target: copyOf(message, view),
      wish: {
        mark: mark < 0 ? undefined : mark,
        bind: localFamily === 0 ? '' : formatAddress(view, localAt, localFamily === 4 ? 4 : 16),
        connectTimeoutMs: timeoutMs,
      },
      defaults: { fwmark, interface: device, connectMs: this.#connectMs },
      clientHash,
    });
    this.#tryNext(end, via, DialResult.FAILED, now);
  }

  /** @param last  how the dial before has ended */
  #tryNext(end: ClaimEnd, via: ViaDial, last: DialResult, now: Instant): void {
    let result = last;
    while (via.next(now)) {
      const started = this.#start(end, via, now);
      if (started === 0) {
        end.deadline = after(now, millis(via.timeoutMs));
        return;
      }
      const isLoop = started === LOOP;
      const errno = isLoop ? 0 : -started;
      result = isLoop ? DialResult.LOOP : resultOfErrno(errno);
      this.#closeUnconnected(end);
      if (!via.failed(isLoop ? DIAL_LOOP : dialFailure(errno), errno, now)) break;
    }
    withoutDial(end, result);
  }

  /** @returns 0, LOOP, or a negative errno */
  #start(end: ClaimEnd, via: ViaDial, now: Instant): number {
    const { to, options } = via;
    const { mark, interface: device } = options;
    if (this.#guard.isLoopFrom(to.view, to.at, to.family, mark, device, now)) return LOOP;
    const index = this.#freeSlot();
    if (index === undefined) return -Errno.EMFILE;
    const fd = openSocket(to.family, options);
    return fd < 0 ? fd : Math.min(0, this.#connect(end, fd, index, to, via, now));
  }

  #viaFailed(end: ClaimEnd, via: ViaDial, failure: DialFailure, errno: number, now: Instant): void {
    this.#closeUnconnected(end);
    const result = errno === 0 ? resultOfReason(failure.reason) : resultOfErrno(errno);
    if (via.failed(failure, errno, now)) this.#tryNext(end, via, result, now);
    else withoutDial(end, result);
  }

  /** Of a dial that failed, and leaves its address itself. */
  #closeUnconnected(end: ClaimEnd): void {
    if (end.port instanceof FdPort) end.port.upstreamSlot = NO_SLOT;
    this.abort(end);
  }

  #viaOfEnd({ port }: ClaimEnd): ViaDial | undefined {
    return port instanceof FdPort ? this.#slots[port.slot]?.via : undefined;
  }

  #finishConnect({ end, port, startedAt, via }: Slot, events: number, now: Instant): void {
    const ready = EpollEvent.OUT | EpollEvent.ERR | EpollEvent.HUP;
    const wasTalking = via?.isTalking === true;
    if (!wasTalking && (events & ready) === 0) return;
    const errno = wasTalking ? 0 : takeError(port.fd);
    if (via !== undefined && !this.#isThrough(end, port, via, errno, now)) return;
    if (errno !== 0) {
      this.abort(end);
      failedDial(end, resultOfErrno(Math.abs(errno)), this.#counters);
      return;
    }
    const { ends } = end;
    // What a proxy has for a local end, nobody has asked.
    if (ends !== undefined && via?.isTalking !== true) {
      ends.localPort = Math.max(0, localAddress(port.fd, ends.family, ends.addresses, 0));
    }
    end.dialed = DialResult.OK;
    end.deadline = NEVER;
    end.connectUs = now - startedAt;
    if (via !== undefined) return;
    this.#counters.add(Counter.DIALS);
    this.#counters.observe(Histogram.DIAL_US, now - startedAt);
  }

  /** @returns whether the socket leads to its target now */
  #isThrough(end: ClaimEnd, port: FdPort, via: ViaDial, errno: number, now: Instant): boolean {
    if (errno !== 0) {
      this.#viaFailed(end, via, dialFailure(Math.abs(errno)), Math.abs(errno), now);
      return false;
    }
    const state = via.advance(port.fd, now);
    if (state === TalkState.FAILED) this.#viaFailed(end, via, via.failure, 0, now);
    if (state !== TalkState.DONE) return false;
    // What lies behind the answer of a proxy makes no event of its own; a FIN stands in this one.
    port.isReadable = via.isTalking;
    return true;
  }

  #release(end: ClaimEnd, port: FdPort): void {
    if (end.dialed === undefined) this.#slots[port.slot]?.via?.abandoned();
    if (port.upstreamSlot !== NO_SLOT) this.#vias.leave(port.upstreamSlot);
    end.port = undefined;
    this.#slots[port.slot] = undefined;
    this.#free.push(port.slot);
    this.#count(end, -1);
  }

  #count({ claim }: ClaimEnd, change: 1 | -1): void {
    if (!claim.hasClient) this.#ownSockets += change;
    this.#report();
  }

  #report(): void {
    this.#counters.set(Counter.OWN_SOCKETS_NOW, this.#ownSockets);
    this.#counters.set(Counter.CLAIM_SOCKETS_NOW, this.#used - this.#ownSockets);
  }
}

/** Of a socket to that target, whose own end is not known yet. */
function endsTo({ view, at, family, port: remotePort }: ProxyTarget): SocketEnds {
  const addresses = new DataView(new ArrayBuffer(32));
  for (let i = 0; i < (family === 4 ? 4 : 16); i += 4) {
    addresses.setInt32(16 + i, view.getInt32(at + i));
  }
  return { family, addresses, localPort: 0, remotePort };
}

/** The target of a message, to be kept: its own bytes are gone with the next one. */
function copyOf({ addressAt, family, port }: ConnMessage, view: DataView): ProxyTarget {
  const kept = new DataView(new ArrayBuffer(16));
  for (let i = 0; i < (family === 4 ? 4 : 16); i += 4) {
    kept.setInt32(i, view.getInt32(addressAt + i));
  }
  return { view: kept, at: 0, family: family === 4 ? 4 : 6, port };
}

const viaOf = ({ viaAt, viaLength }: ConnMessage, view: DataView): string =>
  viaLength === 0
    ? ''
    : fromAscii.decode(new Uint8Array(view.buffer, view.byteOffset + viaAt, viaLength));
