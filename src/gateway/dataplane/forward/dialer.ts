/**
 * Dials: from a verdict to a connected upstream socket, while the client's SYN is held. The SYN is
 * answered as the dial really ended: SYN-ACK, RST, or an ICMP error. By way of an upstream that has
 * a name it may take several sockets, one after the other, and a talk with a proxy
 * (upstream/via-dial.ts).
 */

import { type Epoll, EpollEvent } from '../../../ffi/epoll.ts';
import { addressOf } from '../../../ffi/memory.ts';
import { closeFd, resetOnClose, send, shutdownWrite, takeError } from '../../../ffi/sockets.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import {
  ClosedBy,
  FlowField,
  FlowPhase,
  Handshake,
  noteHandshake,
} from '../../../stack/flow-row.ts';
import { Histogram } from '../../../stack/histograms.ts';
import type { Stack } from '../../../stack/stack.ts';
import { after, type Instant, millis, NEVER } from '../../../stack/time.ts';
import type { LiveConfig } from '../../messages/control.ts';
import type { LoopGuard } from '../loop-guard.ts';
import { clientHash } from '../upstream/client-hash.ts';
import { type ProxyTarget, TalkState } from '../upstream/proxy-talk.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { NO_SLOT, type Upstreams } from '../upstream/upstreams.ts';
import { type DialDefaults, ViaDial } from '../upstream/via-dial.ts';
import {
  DIAL_LOOP,
  DIAL_TIMEOUT,
  type DialFailure,
  type DialOptions,
  dialFailure,
  openSocket,
  startConnect,
  unmapUpstream,
} from './dial.ts';
import { proxyHeader } from './proxy-protocol.ts';
import type { Splice } from './splice.ts';
import { UPSTREAM_EVENTS, UpstreamBit, type UpstreamTable } from './upstream-table.ts';

/** What a verdict says about the dial; the target stands in the flow's row. */
export interface DialPlan {
  /** SO_MARK, or CONFIGURED_MARK. */
  mark: number;
  /** Local address; empty for the kernel's choice. */
  bind: string;
  acceptFirst: boolean;
  /** 1, 2, or 0 for none. */
  proxyProtocol: number;
  /** 0 for the configured one. */
  connectTimeoutMs: number;
  /** Undefined: the gateway dials the target itself. */
  via: Upstream | undefined;
}

export const CONFIGURED_MARK = -1;
/** The kernel would send it into our own device; above all errnos. */
const LOOP = 1;
/** Of an upstream that has no address to try. */
const DIAL_UNFIT = dialFailure(0);

export interface DialerParts {
  readonly stack: Stack;
  readonly upstreams: UpstreamTable;
  readonly vias: Upstreams;
  readonly splice: Splice;
  readonly epoll: Epoll;
  readonly counters: Counters;
  readonly guard: LoopGuard;
}

export class Dialer {
  readonly #stack: Stack;
  readonly #table: UpstreamTable;
  readonly #upstreams: Upstreams;
  readonly #splice: Splice;
  readonly #epoll: Epoll;
  readonly #counters: Counters;
  readonly #guard: LoopGuard;
  /** PROXY protocol headers of dials under way, by row. */
  readonly #headers = new Map<number, Uint8Array<ArrayBuffer>>();
  /** Dials under way by upstreams that have names, by row. */
  readonly #vias = new Map<number, ViaDial>();
  #defaults: DialDefaults = { fwmark: 0, interface: '', connectMs: 0 };
  #inFlight = 0;

  constructor(parts: DialerParts) {
    this.#stack = parts.stack;
    this.#table = parts.upstreams;
    this.#upstreams = parts.vias;
    this.#splice = parts.splice;
    this.#epoll = parts.epoll;
    this.#counters = parts.counters;
    this.#guard = parts.guard;
    this.#count();
  }

  configure({ egress, timeouts }: Pick<LiveConfig, 'egress' | 'timeouts'>): void {
    const { fwmark, interface: device } = egress;
    this.#defaults = { fwmark, interface: device, connectMs: timeouts.connectMs };
  }

  /** Dials for a held SYN the upstream that stands in its row, or by way of that of the plan. */
  dial(row: number, plan: DialPlan, now: Instant): void {
    const stack = this.#stack;
    const at = stack.rowAt(row);
    const view = stack.arena.view;
    unmapUpstream(view, at);
    noteHandshake(view, at, plan.acceptFirst ? Handshake.ACCEPT_FIRST : Handshake.DIAL_FIRST);
    stack.tcb(row).phase = FlowPhase.DIALING;
    this.#table.setSince(row, now);
    this.#table.raise(row, UpstreamBit.CONNECTING);
    if (plan.proxyProtocol !== 0) {
      this.#headers.set(row, proxyHeader(plan.proxyProtocol === 1 ? 1 : 2, view, at));
    }
    const { via } = plan;
    const isUnderWay =
      via === undefined ? this.#dialDirect(row, plan, now) : this.#dialVia(row, via, plan, now);
    if (!isUnderWay || !plan.acceptFirst) return;
    this.#table.raise(row, UpstreamBit.ACCEPT_FIRST);
    stack.accept(row, now);
  }

  /** An event of the upstream socket of `row`. */
  onEvent(row: number, reported: number, now: Instant): void {
    const table = this.#table;
    const isConnecting = table.has(row, UpstreamBit.CONNECTING);
    const events = isConnecting ? this.#finishConnect(row, reported, now) : reported;
    if (events === 0) return;
    if ((events & EpollEvent.OUT) !== 0 && !table.has(row, UpstreamBit.WRITABLE)) {
      table.raise(row, UpstreamBit.WRITABLE);
      if (table.has(row, UpstreamBit.OPEN)) this.#stack.drainBacklog(row, now);
      if (table.fd(row) < 0) return;
    }
    // Reads stop short of urgent data too: from then on, only EAGAIN means that nothing is left.
    const unusual = EpollEvent.RDHUP | EpollEvent.HUP | EpollEvent.ERR | EpollEvent.PRI;
    if ((events & unusual) !== 0) {
      table.raise(row, UpstreamBit.ENDING);
    }
    const readable = EpollEvent.IN | EpollEvent.RDHUP | EpollEvent.HUP | EpollEvent.ERR;
    if ((events & readable) !== 0 && !table.has(row, UpstreamBit.READ_DONE)) {
      table.raise(row, UpstreamBit.READABLE);
      this.#splice.download(row, now);
    } else if ((events & EpollEvent.ERR) !== 0) {
      this.#splice.markBroken(row);
    }
  }

  /** The time for the dial is over. */
  onTimeout(row: number, now: Instant): void {
    if (!this.#table.has(row, UpstreamBit.CONNECTING)) return;
    this.#failed(row, DIAL_TIMEOUT, 0, now);
  }

  /** The flow ended: closes its socket. @param isAbort  the upstream sees a reset */
  release(row: number, isAbort: boolean): void {
    if (this.#table.has(row, UpstreamBit.CONNECTING)) {
      this.#vias.get(row)?.abandoned();
      this.#endDial(row);
      this.#headers.delete(row);
    }
    this.#leaveSlot(row);
    this.#splice.release(row, isAbort);
  }

  #dialDirect(row: number, plan: DialPlan, now: Instant): boolean {
    const { fwmark, interface: device, connectMs } = this.#defaults;
    const at = this.#stack.rowAt(row);
    const mark = plan.mark === CONFIGURED_MARK ? fwmark : plan.mark;
    this.#counters.add(Counter.DIALS);
    this.#inFlight++;
    this.#count();
    const options = { mark, interface: device, bind: plan.bind };
    const result = this.#connect(row, targetOf(this.#stack.arena.view, at), options, now);
    if (result === 0) {
      const timeoutMs = plan.connectTimeoutMs > 0 ? plan.connectTimeoutMs : connectMs;
      this.#stack.setDeadline(row, after(now, millis(timeoutMs)));
      return true;
    }
    this.#refuse(row, failureOf(result), now);
    return false;
  }

  #dialVia(row: number, upstream: Upstream, plan: DialPlan, now: Instant): boolean {
    const { view } = this.#stack.arena;
    const at = this.#stack.rowAt(row);
    view.setUint16(at + FlowField.VIA, upstream.rule.id, true);
    const { bind, connectTimeoutMs } = plan;
    const mark = plan.mark === CONFIGURED_MARK ? undefined : plan.mark;
    const dial = new ViaDial(this.#upstreams, upstream, {
      target: targetOf(view, at),
      wish: { mark, bind, connectTimeoutMs },
      defaults: this.#defaults,
      clientHash: clientHash(view, at),
    });
    this.#vias.set(row, dial);
    this.#count();
    return this.#tryNext(row, dial, DIAL_UNFIT, now);
  }

  /** @param last  why the dial before has failed. @returns false when the flow was refused */
  #tryNext(row: number, dial: ViaDial, last: DialFailure, now: Instant): boolean {
    let failure = last;
    while (dial.next(now)) {
      this.#table.setSlot(row, dial.slot);
      if (dial.upstream.kind === 'pool') writeTarget(this.#stack, row, dial.to);
      const result = this.#connect(row, dial.to, dial.options, now);
      if (result === 0) {
        this.#stack.setDeadline(row, after(now, millis(dial.timeoutMs)));
        return true;
      }
      failure = failureOf(result);
      this.#table.setSlot(row, NO_SLOT);
      const errno = result === LOOP ? 0 : -result;
      if (!dial.failed(failure, errno, now)) break;
    }
    this.#refuse(row, failure, now);
    return false;
  }

  /** Opens the socket of `row`, and begins to connect it. @returns 0, LOOP or a negative errno */
  #connect(row: number, to: ProxyTarget, options: DialOptions, now: Instant): number {
    const { view, at, family, port } = to;
    const { mark, interface: device } = options;
    if (this.#guard.isLoopFrom(view, at, family, mark, device, now)) return LOOP;
    const fd = openSocket(family, options);
    if (fd < 0) return fd;
    this.#table.setFd(row, fd);
    let result = this.#epoll.add(fd, UPSTREAM_EVENTS, this.#table.tokenOf(row));
    if (result >= 0) result = startConnect(fd, view, at, family, port);
    if (result >= 0) return 0;
    this.#dropSocket(row);
    return result;
  }

  /** @returns what is to be believed of the socket when it leads to its target now, else 0 */
  #finishConnect(row: number, events: number, now: Instant): number {
    const table = this.#table;
    const fd = table.fd(row);
    const via = this.#vias.get(row);
    if (via === undefined || !via.isTalking) {
      const ready = EpollEvent.OUT | EpollEvent.ERR | EpollEvent.HUP;
      if ((events & ready) === 0) return 0;
      const errno = takeError(fd);
      if (errno !== 0) {
        this.#failed(row, dialFailure(errno), errno, now);
        return 0;
      }
    }
    if (via !== undefined) {
      const state = via.advance(fd, now);
      if (state === TalkState.FAILED) this.#failed(row, via.failure, 0, now);
      if (state !== TalkState.DONE) return 0;
    }
    const tookUs = now - table.since(row);
    if (via === undefined) this.#counters.observe(Histogram.DIAL_US, tookUs);
    this.#endDial(row);
    const { view } = this.#stack.arena;
    view.setUint32(this.#stack.rowAt(row) + FlowField.CONNECT_US, tookUs, true);
    this.#sendHeader(row, fd);
    if (table.has(row, UpstreamBit.WRITE_SHUT)) shutdownWrite(fd);
    this.#stack.setDeadline(row, NEVER);
    if (!table.has(row, UpstreamBit.ACCEPT_FIRST)) this.#stack.accept(row, now);
    // A client that waited behind a cookie may have ended it all.
    if (table.fd(row) < 0) return 0;
    if (via === undefined || !via.isTalking) return events;
    // What lies behind the answer of a proxy, FIN included, makes no event of its own.
    table.raise(row, UpstreamBit.ENDING);
    return events | EpollEvent.IN | EpollEvent.OUT;
  }

  /** A connected socket with an empty buffer takes a header of at most 107 bytes whole. */
  #sendHeader(row: number, fd: number): void {
    const header = this.#headers.get(row);
    if (header === undefined) return;
    this.#headers.delete(row);
    send(fd, addressOf(header.buffer), header.length);
  }

  /** The socket of `row` came to nothing: another address is tried, or the flow is refused. */
  #failed(row: number, failure: DialFailure, errno: number, now: Instant): void {
    const via = this.#vias.get(row);
    if (via === undefined) {
      this.#refuse(row, failure, now);
      return;
    }
    this.#dropSocket(row);
    this.#table.setSlot(row, NO_SLOT);
    if (via.failed(failure, errno, now)) this.#tryNext(row, via, failure, now);
    else this.#refuse(row, failure, now);
  }

  #refuse(row: number, failure: DialFailure, now: Instant): void {
    if (!this.#vias.has(row)) this.#counters.add(Counter.DIALS_FAILED);
    const phase = this.#stack.tcb(row).phase;
    if (phase === FlowPhase.DIALING || phase === FlowPhase.DECIDING) {
      this.#stack.reject(row, failure.how, failure.code, failure.reason, ClosedBy.UPSTREAM, now);
    } else {
      this.#stack.abort(row, failure.reason, ClosedBy.UPSTREAM, now);
    }
  }

  #dropSocket(row: number): void {
    const fd = this.#table.fd(row);
    if (fd < 0) return;
    resetOnClose(fd);
    closeFd(fd);
    this.#table.setFd(row, -1);
  }

  #leaveSlot(row: number): void {
    const slot = this.#table.slot(row);
    if (slot === NO_SLOT) return;
    this.#table.setSlot(row, NO_SLOT);
    this.#upstreams.leave(slot);
  }

  #endDial(row: number): void {
    this.#table.lower(row, UpstreamBit.CONNECTING);
    if (!this.#vias.delete(row)) this.#inFlight--;
    this.#count();
  }

  #count(): void {
    this.#counters.set(Counter.DIALS_NOW, this.#inFlight);
    this.#counters.set(Counter.VIA_DIALS_NOW, this.#vias.size);
  }
}

/** The upstream that stands in the row at `at`. */
const targetOf = (view: DataView, at: number): ProxyTarget => ({
  view,
  at: at + FlowField.UPSTREAM,
  family: view.getUint8(at + FlowField.UPSTREAM_FAMILY) === 4 ? 4 : 6,
  port: view.getUint16(at + FlowField.UPSTREAM_PORT, true),
});

/** The row says which address of a pool it is. */
function writeTarget(stack: Stack, row: number, to: ProxyTarget): void {
  const { view } = stack.arena;
  const at = stack.rowAt(row);
  for (let i = 0; i < 16; i += 4) {
    view.setInt32(at + FlowField.UPSTREAM + i, to.view.getInt32(to.at + i));
  }
  view.setUint8(at + FlowField.UPSTREAM_FAMILY, to.family);
  view.setUint16(at + FlowField.UPSTREAM_PORT, to.port, true);
}

/** @param result  of `#connect`, and not 0 */
const failureOf = (result: number): DialFailure =>
  result === LOOP ? DIAL_LOOP : dialFailure(-result);
