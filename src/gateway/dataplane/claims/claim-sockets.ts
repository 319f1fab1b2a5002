/**
 * Sockets of the kernel that scripts dial for the connections that they claimed, as dialer.ts does
 * it for a verdict. Nothing here waits; how a dial ended is noted in its end.
 */
import { type Epoll, EpollEvent } from '../../../ffi/epoll.ts';
import { closeFd, localAddress, resetOnClose, takeError } from '../../../ffi/sockets.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { after, type Instant, millis, NEVER } from '../../../stack/time.ts';
import { formatAddress } from '../../../stack/wire/ip-address.ts';
import { DialResult } from '../../messages/conn.ts';
import type { ConnMessage } from '../../messages/conn-decode.ts';
import type { SocketEnds } from '../../messages/conn-encode.ts';
import type { LiveConfig } from '../../messages/control.ts';
import { FdPort } from '../fd-port.ts';
import { openSocket, startConnect } from '../forward/dial.ts';
import { failedDial, resultOfErrno } from '../forward/dial-result.ts';
import { UPSTREAM_EVENTS } from '../forward/upstream-table.ts';
import type { LoopGuard } from '../loop-guard.ts';
import type { ClaimEnd } from './claim.ts';

/** Above the tokens of flows, which have 31 bits: a number that changes, and a slot. */
export const FIRST_CLAIM_TOKEN = 0x8000_0000;
const SLOT_BITS = 16;
const SLOT_MASK = (1 << SLOT_BITS) - 1;
const TURN_MASK = 0x7fff;
/** More cannot be told apart in a token. */
const SLOTS_MAX = 1 << SLOT_BITS;

/** A socket from its dial until it is closed, or becomes the upstream of its flow. */
interface Slot {
  readonly end: ClaimEnd;
  readonly port: FdPort;
  readonly token: number;
  readonly startedAt: Instant;
}

export class ClaimSockets {
  readonly #epoll: Epoll;
  readonly #counters: Counters;
  readonly #guard: LoopGuard;
  /** Address of the arena's first byte, for the kernel. */
  readonly #base: number;
  readonly #slots: (Slot | undefined)[];
  /** Free slots; the last is taken first. */
  readonly #free: number[];
  /** Of claims without a client. */
  #ownSockets = 0;
  #turn = 0;
  #egress: LiveConfig['egress'] = { fwmark: 0, interface: '' };
  #connectMs = 0;

  /** @param limit  sockets that there may be at a time */
  constructor(epoll: Epoll, counters: Counters, guard: LoopGuard, base: number, limit: number) {
    this.#epoll = epoll;
    this.#counters = counters;
    this.#guard = guard;
    this.#base = base;
    const count = Math.min(limit, SLOTS_MAX);
    this.#slots = Array.from({ length: count });
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i);
  }

  configure(live: LiveConfig): void {
    this.#egress = live.egress;
    this.#connectMs = live.timeouts.connectMs;
  }

  /** When a dial that begins now and has its own time-out, or 0, is given up. */
  deadline(timeoutMs: number, now: Instant): Instant {
    return after(now, millis(timeoutMs > 0 ? timeoutMs : this.#connectMs));
  }

  /** Dials what the message names, whose addresses lie in `view`; `end.dialed` may tell at once. */
  dial(end: ClaimEnd, message: ConnMessage, view: DataView, now: Instant): void {
    const { addressAt, localAt, localFamily } = message;
    const family = message.family === 4 ? 4 : 6;
    const mark = message.mark < 0 ? this.#egress.fwmark : message.mark;
    const egress = this.#egress.interface;
    if (this.#guard.isLoopFrom(view, addressAt, family, mark, egress, now)) {
      failedDial(end, DialResult.LOOP, this.#counters);
      return;
    }
    const index = this.#free.at(-1);
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
    const result = this.#connect(end, fd, index, view, addressAt, family, message.port, now);
    if (result >= 0) return;
    this.close(end, true);
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

  /** The time for the dial is over. */
  onTimeout(end: ClaimEnd): void {
    this.close(end, true);
    failedDial(end, DialResult.TIMEOUT, this.#counters);
  }

  /** Closes the socket that `end` has, if it has one of the kernel. */
  close(end: ClaimEnd, isAbort: boolean): void {
    const { port } = end;
    if (!(port instanceof FdPort)) return;
    if (isAbort) resetOnClose(port.fd);
    closeFd(port.fd);
    this.#release(end, port);
  }

  /** Gives the socket away, open, to be watched with another token. @returns its descriptor */
  handOver(end: ClaimEnd, port: FdPort, token: number): number {
    this.#release(end, port);
    this.#epoll.modify(port.fd, UPSTREAM_EVENTS, token);
    return port.fd;
  }

  /** @returns a negative errno when it failed at once */
  #connect(
    end: ClaimEnd,
    fd: number,
    index: number,
    view: DataView,
    addressAt: number,
    family: 4 | 6,
    port: number,
    now: Instant,
  ): number {
    this.#turn = (this.#turn + 1) & TURN_MASK;
    const token = FIRST_CLAIM_TOKEN + this.#turn * SLOTS_MAX + index;
    const socket = new FdPort(fd, index, this.#base);
    end.port = socket;
    this.#free.pop();
    this.#slots[index] = { end, port: socket, token, startedAt: now };
    this.#count(end, 1);
    const watched = this.#epoll.add(fd, UPSTREAM_EVENTS, token);
    if (watched < 0) return watched;
    const result = startConnect(fd, view, addressAt, family, port);
    end.ends = endsTo(view, addressAt, family, port);
    return result;
  }

  #finishConnect({ end, port, startedAt }: Slot, events: number, now: Instant): void {
    const ready = EpollEvent.OUT | EpollEvent.ERR | EpollEvent.HUP;
    if ((events & ready) === 0) return;
    const errno = takeError(port.fd);
    if (errno !== 0) {
      this.close(end, true);
      failedDial(end, resultOfErrno(Math.abs(errno)), this.#counters);
      return;
    }
    const { ends } = end;
    if (ends !== undefined) {
      ends.localPort = Math.max(0, localAddress(port.fd, ends.family, ends.addresses, 0));
    }
    end.dialed = DialResult.OK;
    end.deadline = NEVER;
    this.#counters.add(Counter.DIALS);
    this.#counters.add(Counter.DIALS_US, now - startedAt);
    end.connectUs = now - startedAt;
  }

  #release(end: ClaimEnd, port: FdPort): void {
    end.port = undefined;
    this.#slots[port.slot] = undefined;
    this.#free.push(port.slot);
    this.#count(end, -1);
  }

  #count({ claim }: ClaimEnd, change: 1 | -1): void {
    if (!claim.hasClient) this.#ownSockets += change;
    const all = this.#slots.length - this.#free.length;
    this.#counters.set(Counter.OWN_SOCKETS_NOW, this.#ownSockets);
    this.#counters.set(Counter.CLAIM_SOCKETS_NOW, all - this.#ownSockets);
  }
}

/** Of a socket to that target, whose own end is not known yet. */
function endsTo(view: DataView, addressAt: number, family: 4 | 6, remotePort: number): SocketEnds {
  const addresses = new DataView(new ArrayBuffer(32));
  for (let i = 0; i < (family === 4 ? 4 : 16); i += 4) {
    addresses.setInt32(16 + i, view.getInt32(addressAt + i));
  }
  return { family, addresses, localPort: 0, remotePort };
}
