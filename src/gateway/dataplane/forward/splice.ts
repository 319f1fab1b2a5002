/**
 * The splice: bytes between a flow of the stack and its upstream socket.
 *
 *   upstream → client   recv() into slabs, headers in front of each, one write() to the device
 *   client → upstream   send() from where the device's frame was read to
 *
 * Sockets are watched edge-triggered: an event sets a bit, EAGAIN clears it, and nothing is
 * registered again. A direction that has more to do than its share goes on in the next turn.
 */
import { Errno } from '../../../ffi/errno.ts';
import { closeFd, resetOnClose, send, shutdownWrite } from '../../../ffi/sockets.ts';
import { CloseReason } from '../../../stack/close-reason.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { ClosedBy, FlowField } from '../../../stack/flow-row.ts';
import type { Stack } from '../../../stack/stack.ts';
import type { Instant } from '../../../stack/time.ts';
import { isOverByteLimit } from '../byte-limit.ts';
import { NextTurn } from '../next-turn.ts';
import { NO_ROW } from '../row-queues.ts';
import { Landing } from './landing.ts';
import { UpstreamBit, type UpstreamTable } from './upstream-table.ts';

/** Calls of `recv` that one flow may make before the others have their turn. */
const SHARE = 8;

export class Splice {
  readonly #stack: Stack;
  readonly #upstreams: UpstreamTable;
  /** Address of the arena's first byte, for the kernel. */
  readonly #base: number;
  readonly #landing: Landing;
  readonly #counters: Counters;
  readonly #next: NextTurn;

  constructor(stack: Stack, upstreams: UpstreamTable, base: number, counters: Counters) {
    this.#stack = stack;
    this.#counters = counters;
    this.#upstreams = upstreams;
    this.#base = base;
    this.#landing = new Landing(stack.slabs, stack.arena.bytes, base);
    this.#next = new NextTurn(upstreams, UpstreamBit.LISTED, stack.flows.capacity);
  }

  /** Milliseconds that the loop may sleep. */
  get patienceMs(): number {
    return this.#next.patienceMs;
  }

  /** Goes on with those whose share was used up, and ends those whose socket failed. */
  runListed(now: Instant): void {
    const count = this.#next.begin();
    for (let i = 0; i < count; i++) {
      const row = this.#next.take(i);
      if (row === NO_ROW) continue;
      if (this.#upstreams.has(row, UpstreamBit.BROKEN)) this.#breakOff(row, now);
      else this.download(row, now);
    }
  }

  /** Moves what the upstream has, as far as the client's window allows. */
  download(row: number, now: Instant): void {
    const upstreams = this.#upstreams;
    // A broken socket has told its error already; what it says now would pass for a clean end.
    if (!upstreams.has(row, UpstreamBit.OPEN) || upstreams.has(row, UpstreamBit.BROKEN)) return;
    const fd = upstreams.fd(row);
    for (let turn = 0; turn < SHARE; turn++) {
      if (!upstreams.has(row, UpstreamBit.READABLE)) return;
      const room = this.#stack.room(row, now);
      if (room === 0) return;
      const piece = Math.min(room, this.#stack.superpacketBytes(row));
      const count = this.#landing.prepare(Math.floor(room / piece));
      if (count === 0) {
        // Over budget: the fast side waits; a slab that comes back lets it go on.
        this.#next.isStarved = true;
        this.#next.add(row);
        return;
      }
      const got = this.#landing.receive(fd, piece, count);
      if (got > 0) this.#noteReceived(row, got, now);
      const goesOn =
        got <= 0
          ? this.#onNoBytes(row, got, now)
          : this.#onReceived(row, fd, got, piece, count, now);
      if (!goesOn) return;
    }
    this.#next.add(row);
  }

  /** Bytes of the client. @returns how many the socket took */
  upload(row: number, at: number, length: number): number {
    const upstreams = this.#upstreams;
    if (!upstreams.has(row, UpstreamBit.WRITABLE)) return 0;
    if (upstreams.has(row, UpstreamBit.BROKEN)) return length;
    const sent = send(upstreams.fd(row), this.#base + at, length);
    if (sent > 0) this.#counters.add(Counter.UPSTREAM_BYTES_SENT, sent);
    if (sent === length) {
      // The stack counts these bytes when we return.
      this.#isOverLimit(row, sent);
      return sent;
    }
    if (sent >= 0 || sent === -Errno.EAGAIN) {
      upstreams.lower(row, UpstreamBit.WRITABLE);
      return Math.max(sent, 0);
    }
    this.markBroken(row);
    return length;
  }

  /** The socket failed, or a limit is passed: ended later, as the stack may be at work on it. */
  markBroken(row: number): void {
    this.#upstreams.raise(row, UpstreamBit.BROKEN);
    this.#next.add(row);
  }

  /** The client's FIN goes to the upstream; the other direction goes on. */
  finish(row: number): void {
    const upstreams = this.#upstreams;
    const fd = upstreams.fd(row);
    if (fd < 0) return;
    upstreams.raise(row, UpstreamBit.WRITE_SHUT);
    // A socket that is not connected yet is shut when it is.
    if (upstreams.has(row, UpstreamBit.CONNECTING)) return;
    if (upstreams.has(row, UpstreamBit.READ_DONE)) this.release(row, false);
    else shutdownWrite(fd);
  }

  /** Closes the socket. @param isAbort  the upstream sees a reset */
  release(row: number, isAbort: boolean): void {
    const fd = this.#upstreams.fd(row);
    if (fd < 0) return;
    if (isAbort) resetOnClose(fd);
    closeFd(fd);
    this.#upstreams.setFd(row, -1);
    this.#upstreams.lower(row, UpstreamBit.READABLE | UpstreamBit.WRITABLE);
  }

  #noteReceived(row: number, bytes: number, now: Instant): void {
    this.#counters.add(Counter.UPSTREAM_BYTES_RECEIVED, bytes);
    const { view } = this.#stack.arena;
    const at = this.#stack.rowAt(row);
    if (view.getFloat64(at + FlowField.BYTES_DOWN, true) !== 0) return;
    const startedAt = view.getFloat64(at + FlowField.STARTED_AT, true);
    view.setUint32(at + FlowField.FIRST_BYTE_US, now - startedAt, true);
  }

  /** Sends what landed, in pieces. @returns false to stop */
  #onReceived(
    row: number,
    fd: number,
    got: number,
    piece: number,
    count: number,
    now: Instant,
  ): boolean {
    let rest = got;
    for (; rest > piece; rest -= piece) {
      this.#stack.transmit(row, this.#landing.take(piece), piece, now);
    }
    const isShort = got < piece * count;
    if (!isShort || !this.#upstreams.has(row, UpstreamBit.ENDING)) {
      return this.#onBytes(row, rest, isShort, now);
    }
    // With no space behind the bytes, the next turn asks for the FIN.
    if (rest === piece) return this.#onBytes(row, rest, false, now);
    return this.#onLastBytes(row, fd, rest, piece, now);
  }

  /** Sends the last piece. @returns false to stop */
  #onBytes(row: number, length: number, isDrained: boolean, now: Instant): boolean {
    this.#stack.transmit(row, this.#landing.take(length), length, now);
    if (isDrained) this.#upstreams.lower(row, UpstreamBit.READABLE);
    return !this.#isOverLimit(row);
  }

  /**
   * The upstream has sent FIN, and a short read says that it comes next: asks for it, so that data
   * and FIN leave in one segment.
   */
  #onLastBytes(row: number, fd: number, got: number, piece: number, now: Instant): boolean {
    const upstreams = this.#upstreams;
    const more = this.#landing.receiveMore(fd, got, piece - got);
    if (more !== 0) {
      if (more > 0) this.#counters.add(Counter.UPSTREAM_BYTES_RECEIVED, more);
      const goesOn = this.#onBytes(row, got + Math.max(more, 0), false, now);
      return goesOn && (more > 0 || this.#onNoBytes(row, more, now));
    }
    upstreams.lower(row, UpstreamBit.READABLE);
    upstreams.raise(row, UpstreamBit.READ_DONE);
    if (upstreams.has(row, UpstreamBit.WRITE_SHUT)) this.release(row, false);
    this.#stack.transmitLast(row, this.#landing.take(got), got, now);
    return false;
  }

  /** End of the upstream's bytes, nothing for now, or a failure. @returns false to stop */
  #onNoBytes(row: number, got: number, now: Instant): boolean {
    const upstreams = this.#upstreams;
    if (got === -Errno.EINTR) return true;
    upstreams.lower(row, UpstreamBit.READABLE);
    if (got === -Errno.EAGAIN) return false;
    if (got === 0) {
      upstreams.raise(row, UpstreamBit.READ_DONE);
      if (upstreams.has(row, UpstreamBit.WRITE_SHUT)) this.release(row, false);
      this.#stack.close(row, now);
    } else {
      this.#stack.abort(row, CloseReason.UPSTREAM_RESET, ClosedBy.UPSTREAM, now);
    }
    return false;
  }

  #breakOff(row: number, now: Instant): void {
    const isLimit = this.#isBeyondLimit(row, 0);
    const reason = isLimit ? CloseReason.LIMIT : CloseReason.UPSTREAM_RESET;
    this.#stack.abort(row, reason, isLimit ? ClosedBy.LIMIT : ClosedBy.UPSTREAM, now);
  }

  /** Ends a flow that has moved more than its verdict allows. */
  #isOverLimit(row: number, uncounted = 0): boolean {
    if (!this.#isBeyondLimit(row, uncounted)) return false;
    this.markBroken(row);
    return true;
  }

  #isBeyondLimit(row: number, uncounted: number): boolean {
    return isOverByteLimit(this.#stack.arena.view, this.#stack.rowAt(row), uncounted);
  }
}
