/**
 * What a client leaves behind that resets its connection, or is lost: bytes that were acknowledged
 * to it and still wait for a slow upstream. RFC 9293 §3.10.7.4 would have them flushed. Linux lets
 * whoever reads a socket have them first, then the error, or the end where a FIN came before the
 * reset; an upstream should see no less of a client than it would without a gateway. So its socket
 * outlives the flow, whose row is free for the client's next connection:
 *
 *   adopt → what waits in slabs is sent → what waits in the kernel is acknowledged → FIN or reset
 *
 * All of it is bounded: sockets, in all and per source, slabs, and the time for each.
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
import { isOverByteLimit } from '../byte-limit.ts';
import { isOfSameSource, noOrphan, type Orphan, readSource } from './orphan.ts';
import { UpstreamBit, type UpstreamTable } from './upstream-table.ts';

/** A client that resets in a loop must not have the sockets of the others. */
const ORPHANS_MAX = 256;
/** Of one IPv4 address or IPv6 /64: seven others have room beside it. */
const PER_SOURCE_MAX = ORPHANS_MAX / 8;
/** Nor their slabs: an eighth of the budget. */
const BUDGET_SHARE = 8;
/** As long as Linux lets TIME-WAIT last; who reads nothing for so long will not begin. */
const LIFE_US = seconds(60);
/** Between two looks at a socket that does not move: from short to long. */
const PAUSE_MIN_MS = 5;
const PAUSE_MAX_MS = 160;

/** Of what the kernel has not seen acknowledged: a FIN that was sent counts there for a byte. */
const textOf = (inKernel: number, isShut: boolean): number =>
  Math.max(0, inKernel - (isShut ? 1 : 0));

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
  /** Bytes of the slabs that all of them hold, however little lies in each. */
  #size = 0;

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
   * that, when the client has left something behind, or has sent FIN. A flow that has moved more
   * than its verdict allows is owed nothing more.
   */
  adopt(row: number, now: Instant): void {
    const stack = this.#stack;
    const fd = this.#upstreams.fd(row);
    if (fd < 0 || !this.#isLeftByClient(row)) return;
    const isShut = this.#upstreams.has(row, UpstreamBit.WRITE_SHUT);
    const bytes = stack.waiting(row);
    const slabAt = stack.takeWaiting(row);
    const size = this.#sizeOf(slabAt);
    if (!this.#hasPlace(stack.rowAt(row), size)) {
      this.#lose(bytes + textOf(unacknowledged(fd), isShut));
      this.#release(slabAt);
      return;
    }
    const orphan = this.#orphans[this.#count]!;
    this.#count += 1;
    this.#size += size;
    readSource(stack.arena.view, stack.rowAt(row), orphan);
    orphan.fd = fd;
    orphan.slabAt = slabAt;
    orphan.bytes = bytes;
    orphan.inKernel = 0;
    orphan.hasEnd = stack.hasAllText(row);
    orphan.isShut = isShut;
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

  /** For what the client of the row at `rowAt` has left in slabs of `size` bytes. */
  #hasPlace(rowAt: number, size: number): boolean {
    const { slabs, arena } = this.#stack;
    if (this.#count === ORPHANS_MAX) return false;
    if (this.#size + size > slabs.bytesLimit / BUDGET_SHARE) return false;
    let ofSource = 0;
    for (let i = 0; i < this.#count; i++) {
      if (isOfSameSource(arena.view, rowAt, this.#orphans[i]!)) ofSource += 1;
    }
    return ofSource < PER_SOURCE_MAX;
  }

  /** Of a flow with a socket: its client has ended it, and the upstream is there. */
  #isLeftByClient(row: number): boolean {
    const { view } = this.#stack.arena;
    const at = this.#stack.rowAt(row);
    const table = this.#upstreams;
    return (
      view.getUint8(at + FlowField.CLOSED_BY) === ClosedBy.CLIENT &&
      view.getUint8(at + FlowField.SERVICE) === Service.NONE &&
      !isOverByteLimit(view, at) &&
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
    const { arena, slabs } = this.#stack;
    const { view } = arena;
    while (orphan.slabAt !== NO_SLAB) {
      const { slabAt } = orphan;
      const taken = view.getUint32(slabAt + SlabField.TAKEN, true);
      const length = view.getUint32(slabAt + SlabField.LENGTH, true) - taken;
      const sent = send(orphan.fd, this.#base + slabAt + SLAB_PAYLOAD_AT + taken, length);
      if (sent < 0) return sent === -Errno.EAGAIN;
      orphan.bytes -= sent;
      this.#counters.add(Counter.UPSTREAM_BYTES_SENT, sent);
      this.#counters.add(Counter.ORPHAN_BYTES_SENT, sent);
      view.setUint32(slabAt + SlabField.TAKEN, taken + sent, true);
      if (sent < length) return true;
      orphan.slabAt = view.getInt32(slabAt + SlabField.NEXT, true);
      this.#size -= slabs.sizeOf(slabAt);
      slabs.release(slabAt);
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
    const lost = orphan.bytes + textOf(orphan.inKernel, orphan.isShut);
    if (lost > 0 || !orphan.hasEnd) resetOnClose(orphan.fd);
    closeFd(orphan.fd);
    this.#lose(lost);
    this.#size -= this.#sizeOf(orphan.slabAt);
    this.#release(orphan.slabAt);
    orphan.slabAt = NO_SLAB;
    this.#count -= 1;
    this.#orphans[index] = this.#orphans[this.#count]!;
    this.#orphans[this.#count] = orphan;
  }

  /** Bytes of the slabs from this one on. */
  #sizeOf(first: number): number {
    const { slabs, arena } = this.#stack;
    let size = 0;
    for (let slabAt = first; slabAt !== NO_SLAB; ) {
      size += slabs.sizeOf(slabAt);
      slabAt = arena.view.getInt32(slabAt + SlabField.NEXT, true);
    }
    return size;
  }

  /** Gives back the slabs from this one on. */
  #release(first: number): void {
    const { slabs, arena } = this.#stack;
    for (let slabAt = first; slabAt !== NO_SLAB; ) {
      const next = arena.view.getInt32(slabAt + SlabField.NEXT, true);
      slabs.release(slabAt);
      slabAt = next;
    }
  }

  #lose(bytes: number): void {
    this.#counters.add(Counter.ORPHAN_BYTES_LOST, bytes);
  }
}
