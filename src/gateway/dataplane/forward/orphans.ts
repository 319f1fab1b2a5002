/**
 * What a client leaves behind that resets its connection, or is lost: bytes that were acknowledged
 * to it and still wait for a slow upstream. RFC 9293 §3.10.7.4 would have them flushed. Linux lets
 * whoever reads a socket have them first, then the error, or the end where a FIN came before the
 * reset; an upstream should see no less of a client than it would without a gateway. So its socket
 * outlives the flow, whose row is free for the client's next connection:
 *
 *   adopt → what waits in slabs is sent → what waits in the kernel is acknowledged → FIN or reset
 *
 * All of it is bounded: sockets, bytes, and the time for each.
 */
import type { Epoll } from '../../../ffi/epoll.ts';
import { Errno } from '../../../ffi/errno.ts';
import {
  closeFd,
  resetOnClose,
  send,
  shutdownWrite,
  takeError,
  unacknowledged,
} from '../../../ffi/sockets.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { ClosedBy, FlowField, Service } from '../../../stack/flow-row.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT, SlabField } from '../../../stack/slab-pool.ts';
import type { Stack } from '../../../stack/stack.ts';
import { after, type Instant, millis, NEVER, seconds } from '../../../stack/time.ts';
import { UpstreamBit, type UpstreamTable } from './upstream-table.ts';

/** A client that resets in a loop must not have the sockets of the others. */
const ORPHANS_MAX = 256;
/** Nor their slabs: an eighth of the budget. */
const BUDGET_SHARE = 8;
/** As long as Linux lets TIME-WAIT last; who reads nothing for so long will not begin. */
const LIFE_US = seconds(60);
/** Between two looks at a socket that does not move: from short to long. */
const PAUSE_MIN_MS = 5;
const PAUSE_MAX_MS = 160;

interface Orphan {
  fd: number;
  /** First slab that is not sent whole, or NO_SLAB. */
  slabAt: number;
  /** Bytes in slabs, and in the kernel as far as they are not acknowledged. */
  bytes: number;
  inKernel: number;
  /** The client sent FIN first: the upstream gets one too, and no reset. */
  hasEnd: boolean;
  /** It was passed on. */
  isShut: boolean;
  deadline: Instant;
  lookAt: Instant;
  pauseMs: number;
}

const noOrphan = (): Orphan => ({
  fd: -1,
  slabAt: NO_SLAB,
  bytes: 0,
  inKernel: 0,
  hasEnd: false,
  isShut: false,
  deadline: NEVER,
  lookAt: NEVER,
  pauseMs: 0,
});

export class Orphans {
  readonly #stack: Stack;
  readonly #upstreams: UpstreamTable;
  readonly #epoll: Epoll;
  readonly #counters: Counters;
  /** Address of the arena's first byte, for the kernel. */
  readonly #base: number;
  /** The first `#count` are in use. */
  readonly #orphans: Orphan[] = Array.from({ length: ORPHANS_MAX }, noOrphan);
  #count = 0;
  /** In slabs, of all. */
  #bytes = 0;

  constructor(
    stack: Stack,
    upstreams: UpstreamTable,
    epoll: Epoll,
    counters: Counters,
    base: number,
  ) {
    this.#stack = stack;
    this.#upstreams = upstreams;
    this.#epoll = epoll;
    this.#counters = counters;
    this.#base = base;
    counters.set(Counter.ORPHANS_NOW, 0);
  }

  get count(): number {
    return this.#count;
  }

  /** When `run` wants to be called. */
  get nextLook(): Instant {
    let lookAt: Instant = NEVER;
    for (let i = 0; i < this.#count; i++) {
      lookAt = Math.min(lookAt, this.#orphans[i]!.lookAt) as Instant;
    }
    return lookAt;
  }

  /**
   * The flow in `row` ends, and its slabs are still its own: takes its socket, and what waits for
   * that, when the client has left something behind, or has sent FIN.
   */
  adopt(row: number, now: Instant): void {
    const stack = this.#stack;
    const fd = this.#upstreams.fd(row);
    if (fd < 0 || !this.#isLeftByClient(row)) return;
    const bytes = stack.waiting(row);
    const budget = stack.slabs.bytesLimit / BUDGET_SHARE;
    if (this.#count === ORPHANS_MAX || this.#bytes + bytes > budget) {
      this.#lose(bytes + Math.max(0, unacknowledged(fd)));
      return;
    }
    const orphan = this.#orphans[this.#count]!;
    this.#count += 1;
    this.#bytes += bytes;
    orphan.fd = fd;
    orphan.slabAt = stack.takeWaiting(row);
    orphan.bytes = bytes;
    orphan.inKernel = 0;
    orphan.hasEnd = stack.hasAllText(row);
    orphan.isShut = this.#upstreams.has(row, UpstreamBit.WRITE_SHUT);
    orphan.deadline = after(now, LIFE_US);
    orphan.pauseMs = PAUSE_MIN_MS;
    this.#upstreams.setFd(row, -1);
    this.#epoll.remove(fd);
    this.#look(this.#count - 1, now);
    this.#counters.set(Counter.ORPHANS_NOW, this.#count);
  }

  /** Goes on with those whose time has come. */
  run(now: Instant): void {
    if (this.#count === 0) return;
    // From the last one: an orphan that ends gives its place to the last.
    for (let i = this.#count - 1; i >= 0; i--) {
      if (this.#orphans[i]!.lookAt <= now) this.#look(i, now);
    }
    this.#counters.set(Counter.ORPHANS_NOW, this.#count);
  }

  /** Ends them all, as the gateway does itself. @returns how many that were */
  endAll(): number {
    const count = this.#count;
    while (this.#count > 0) this.#end(this.#count - 1);
    this.#counters.set(Counter.ORPHANS_NOW, 0);
    return count;
  }

  /** Of a flow with a socket: its client has ended it, and the upstream is there. */
  #isLeftByClient(row: number): boolean {
    const { view } = this.#stack.arena;
    const at = this.#stack.rowAt(row);
    const table = this.#upstreams;
    return (
      view.getUint8(at + FlowField.CLOSED_BY) === ClosedBy.CLIENT &&
      view.getUint8(at + FlowField.SERVICE) === Service.NONE &&
      table.has(row, UpstreamBit.OPEN) &&
      !table.has(row, UpstreamBit.BROKEN | UpstreamBit.CONNECTING)
    );
  }

  #look(index: number, now: Instant): void {
    const orphan = this.#orphans[index]!;
    const { bytes, inKernel } = orphan;
    const isAlive = takeError(orphan.fd) === 0 && this.#sendOn(orphan);
    orphan.inKernel = isAlive ? Math.max(0, unacknowledged(orphan.fd)) : 0;
    const left = orphan.bytes + orphan.inKernel;
    if (!isAlive || left === 0 || now >= orphan.deadline) {
      this.#end(index);
      return;
    }
    const hasMoved = left < bytes + inKernel;
    orphan.pauseMs = hasMoved ? PAUSE_MIN_MS : Math.min(orphan.pauseMs * 2, PAUSE_MAX_MS);
    orphan.lookAt = after(now, millis(orphan.pauseMs));
  }

  /** Sends what the socket takes, and FIN behind the last byte. @returns false when it failed */
  #sendOn(orphan: Orphan): boolean {
    const { view } = this.#stack.arena;
    while (orphan.slabAt !== NO_SLAB) {
      const { slabAt } = orphan;
      const taken = view.getUint32(slabAt + SlabField.TAKEN, true);
      const length = view.getUint32(slabAt + SlabField.LENGTH, true) - taken;
      const sent = send(orphan.fd, this.#base + slabAt + SLAB_PAYLOAD_AT + taken, length);
      if (sent < 0) return sent === -Errno.EAGAIN;
      orphan.bytes -= sent;
      this.#bytes -= sent;
      this.#counters.add(Counter.UPSTREAM_BYTES_SENT, sent);
      this.#counters.add(Counter.ORPHAN_BYTES_SENT, sent);
      view.setUint32(slabAt + SlabField.TAKEN, taken + sent, true);
      if (sent < length) return true;
      orphan.slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
      this.#stack.slabs.release(slabAt);
    }
    if (orphan.hasEnd && !orphan.isShut) {
      shutdownWrite(orphan.fd);
      orphan.isShut = true;
    }
    return true;
  }

  /** Closes the socket; what it has not taken is lost. */
  #end(index: number): void {
    const orphan = this.#orphans[index]!;
    // A FIN that was sent, and is not acknowledged, counts there for a byte.
    const lost = orphan.bytes + Math.max(0, orphan.inKernel - (orphan.isShut ? 1 : 0));
    if (lost > 0 || !orphan.hasEnd) resetOnClose(orphan.fd);
    closeFd(orphan.fd);
    this.#lose(lost);
    this.#bytes -= orphan.bytes;
    const { slabs, arena } = this.#stack;
    while (orphan.slabAt !== NO_SLAB) {
      const next = arena.view.getInt32(orphan.slabAt + SlabField.NEXT, true);
      slabs.release(orphan.slabAt);
      orphan.slabAt = next;
    }
    this.#count -= 1;
    this.#orphans[index] = this.#orphans[this.#count]!;
    this.#orphans[this.#count] = orphan;
  }

  #lose(bytes: number): void {
    this.#counters.add(Counter.ORPHAN_BYTES_LOST, bytes);
  }
}
