/**
 * Dials: from a verdict to a connected upstream socket, while the client's SYN is held. The SYN is
 * answered as the dial really ended: SYN-ACK, RST, or an ICMP error.
 */

import { type Epoll, EpollEvent } from '../../../ffi/epoll.ts';
import { addressOf } from '../../../ffi/memory.ts';
import { send, shutdownWrite, takeError } from '../../../ffi/sockets.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { ClosedBy, FlowField, FlowPhase } from '../../../stack/flow-row.ts';
import { Histogram } from '../../../stack/histograms.ts';
import type { Stack } from '../../../stack/stack.ts';
import { after, type Instant, millis, NEVER } from '../../../stack/time.ts';
import type { LiveConfig } from '../../messages/control.ts';
import type { LoopGuard } from '../loop-guard.ts';
import {
  DIAL_LOOP,
  DIAL_TIMEOUT,
  type DialFailure,
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
}

export const CONFIGURED_MARK = -1;

export class Dialer {
  readonly #stack: Stack;
  readonly #upstreams: UpstreamTable;
  readonly #splice: Splice;
  readonly #epoll: Epoll;
  readonly #counters: Counters;
  readonly #guard: LoopGuard;
  /** PROXY protocol headers of dials under way, by row. */
  readonly #headers = new Map<number, Uint8Array<ArrayBuffer>>();
  #egress: LiveConfig['egress'] = { fwmark: 0, interface: '' };
  #connectMs = 0;
  #inFlight = 0;

  constructor(
    stack: Stack,
    upstreams: UpstreamTable,
    splice: Splice,
    epoll: Epoll,
    counters: Counters,
    guard: LoopGuard,
  ) {
    this.#stack = stack;
    this.#upstreams = upstreams;
    this.#splice = splice;
    this.#epoll = epoll;
    this.#counters = counters;
    this.#guard = guard;
    this.#setInFlight(0);
  }

  configure(live: LiveConfig): void {
    this.#egress = live.egress;
    this.#connectMs = live.timeouts.connectMs;
  }

  /** Dials the upstream that stands in the row of a held SYN. */
  dial(row: number, plan: DialPlan, now: Instant): void {
    const stack = this.#stack;
    const at = stack.rowAt(row);
    const view = stack.arena.view;
    unmapUpstream(view, at);
    const family = view.getUint8(at + FlowField.UPSTREAM_FAMILY) === 4 ? 4 : 6;
    const mark = plan.mark === CONFIGURED_MARK ? this.#egress.fwmark : plan.mark;
    stack.tcb(row).phase = FlowPhase.DIALING;
    this.#counters.add(Counter.DIALS);
    this.#upstreams.setSince(row, now);
    const egress = this.#egress.interface;
    if (this.#guard.isLoopFrom(view, at + FlowField.UPSTREAM, family, mark, egress, now)) {
      this.#fail(row, DIAL_LOOP, now);
      return;
    }
    const options = { mark, interface: egress, bind: plan.bind };
    const fd = openSocket(family, options);
    if (fd < 0) {
      this.#fail(row, dialFailure(-fd), now);
      return;
    }
    this.#upstreams.setFd(row, fd);
    this.#upstreams.raise(row, UpstreamBit.CONNECTING);
    this.#setInFlight(this.#inFlight + 1);
    const watched = this.#epoll.add(fd, UPSTREAM_EVENTS, this.#upstreams.tokenOf(row));
    if (watched < 0) {
      this.#fail(row, dialFailure(-watched), now);
      return;
    }
    if (plan.proxyProtocol !== 0) {
      this.#headers.set(row, proxyHeader(plan.proxyProtocol === 1 ? 1 : 2, view, at));
    }
    const port = view.getUint16(at + FlowField.UPSTREAM_PORT, true);
    const result = startConnect(fd, view, at + FlowField.UPSTREAM, family, port);
    if (result < 0) {
      this.#fail(row, dialFailure(-result), now);
      return;
    }
    const timeoutMs = plan.connectTimeoutMs > 0 ? plan.connectTimeoutMs : this.#connectMs;
    stack.setDeadline(row, after(now, millis(timeoutMs)));
    if (plan.acceptFirst) {
      this.#upstreams.raise(row, UpstreamBit.ACCEPT_FIRST);
      stack.accept(row, now);
    }
  }

  /** An event of the upstream socket of `row`. */
  onEvent(row: number, events: number, now: Instant): void {
    const upstreams = this.#upstreams;
    const isConnecting = upstreams.has(row, UpstreamBit.CONNECTING);
    if (isConnecting && !this.#finishConnect(row, events, now)) return;
    if ((events & EpollEvent.OUT) !== 0 && !upstreams.has(row, UpstreamBit.WRITABLE)) {
      upstreams.raise(row, UpstreamBit.WRITABLE);
      if (upstreams.has(row, UpstreamBit.OPEN)) this.#stack.drainBacklog(row, now);
      if (upstreams.fd(row) < 0) return;
    }
    // Reads stop short of urgent data too: from then on, only EAGAIN means that nothing is left.
    const unusual = EpollEvent.RDHUP | EpollEvent.HUP | EpollEvent.ERR | EpollEvent.PRI;
    if ((events & unusual) !== 0) {
      upstreams.raise(row, UpstreamBit.ENDING);
    }
    const readable = EpollEvent.IN | EpollEvent.RDHUP | EpollEvent.HUP | EpollEvent.ERR;
    if ((events & readable) !== 0 && !upstreams.has(row, UpstreamBit.READ_DONE)) {
      upstreams.raise(row, UpstreamBit.READABLE);
      this.#splice.download(row, now);
    } else if ((events & EpollEvent.ERR) !== 0) {
      this.#splice.markBroken(row);
    }
  }

  /** The time for the dial is over. */
  onTimeout(row: number, now: Instant): void {
    if (this.#upstreams.has(row, UpstreamBit.CONNECTING)) this.#fail(row, DIAL_TIMEOUT, now);
  }

  /** The flow ended: closes its socket. @param isAbort  the upstream sees a reset */
  release(row: number, isAbort: boolean): void {
    if (this.#upstreams.has(row, UpstreamBit.CONNECTING)) {
      this.#upstreams.lower(row, UpstreamBit.CONNECTING);
      this.#setInFlight(this.#inFlight - 1);
      this.#headers.delete(row);
    }
    this.#splice.release(row, isAbort);
  }

  /** @returns true when the upstream is connected now */
  #finishConnect(row: number, events: number, now: Instant): boolean {
    const ready = EpollEvent.OUT | EpollEvent.ERR | EpollEvent.HUP;
    if ((events & ready) === 0) return false;
    const upstreams = this.#upstreams;
    const fd = upstreams.fd(row);
    const errno = takeError(fd);
    if (errno !== 0) {
      this.#fail(row, dialFailure(errno), now);
      return false;
    }
    upstreams.lower(row, UpstreamBit.CONNECTING);
    this.#setInFlight(this.#inFlight - 1);
    const view = this.#stack.arena.view;
    const tookUs = now - upstreams.since(row);
    view.setUint32(this.#stack.rowAt(row) + FlowField.CONNECT_US, tookUs, true);
    this.#counters.observe(Histogram.DIAL_US, tookUs);
    this.#sendHeader(row, fd);
    if (upstreams.has(row, UpstreamBit.WRITE_SHUT)) shutdownWrite(fd);
    this.#stack.setDeadline(row, NEVER);
    if (!upstreams.has(row, UpstreamBit.ACCEPT_FIRST)) this.#stack.accept(row, now);
    // A client that waited behind a cookie may have ended it all.
    return upstreams.fd(row) >= 0;
  }

  /** A connected socket with an empty buffer takes a header of at most 107 bytes whole. */
  #sendHeader(row: number, fd: number): void {
    const header = this.#headers.get(row);
    if (header === undefined) return;
    this.#headers.delete(row);
    send(fd, addressOf(header.buffer), header.length);
  }

  #fail(row: number, failure: DialFailure, now: Instant): void {
    this.#counters.add(Counter.DIALS_FAILED);
    const phase = this.#stack.tcb(row).phase;
    if (phase === FlowPhase.DIALING || phase === FlowPhase.DECIDING) {
      this.#stack.reject(row, failure.how, failure.code, failure.reason, ClosedBy.UPSTREAM, now);
    } else {
      this.#stack.abort(row, failure.reason, ClosedBy.UPSTREAM, now);
    }
  }

  #setInFlight(count: number): void {
    this.#inFlight = count;
    this.#counters.set(Counter.DIALS_NOW, count);
  }
}
