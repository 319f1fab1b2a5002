/**
 * An end of a claimed connection that is one of our TCP: the client, or what was dialled into the
 * device. What it sends stays in the stack's slabs until it is read.
 */
import { copyBytes } from '../../ffi/memory.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT } from '../../stack/slab-pool.ts';
import type { Stack } from '../../stack/stack.ts';
import type { Instant } from '../../stack/time.ts';
import type { ClaimEnd, EndPort, Landing } from './claims/claim.ts';
import type { SlabQueue } from './forward/slab-queue.ts';

export class RowPort implements EndPort {
  readonly end: ClaimEnd;
  readonly row: number;
  hasEnded = false;
  readonly isBroken = false;
  /** A push found no slab: it goes on when some are free again. */
  isStarved = false;
  readonly #stack: Stack;
  /** Where `read` has the stack put its bytes, and how many it still wants. */
  #into: Landing | undefined;
  #wanted = 0;
  #got = 0;

  constructor(end: ClaimEnd, row: number, stack: Stack) {
    this.end = end;
    this.row = row;
    this.#stack = stack;
  }

  push(queue: SlabQueue, now: Instant): number {
    const stack = this.#stack;
    this.isStarved = false;
    let pushed = 0;
    while (queue.length > 0) {
      const room = stack.room(this.row, now);
      if (room === 0) break;
      const length = Math.min(room, stack.superpacketBytes(this.row), queue.frontLength);
      const slabAt = this.#slabOf(queue, length);
      if (slabAt === NO_SLAB) {
        this.isStarved = true;
        break;
      }
      stack.transmit(this.row, slabAt, length, now);
      pushed += length;
    }
    return pushed;
  }

  finish(now: Instant): void {
    this.#stack.close(this.row, now);
  }

  mayHave(min: number): boolean {
    return this.#stack.waiting(this.row) >= min || this.#stack.hasAllText(this.row);
  }

  peek({ bytes, at }: Landing, max: number): number {
    return this.#stack.copyWaiting(this.row, bytes, at, max);
  }

  isAll(peeked: number): boolean {
    return this.#stack.hasAllText(this.row) && this.#stack.waiting(this.row) === peeked;
  }

  read(into: Landing, max: number, now: Instant): number {
    this.#into = into;
    this.#wanted = max;
    this.#got = 0;
    this.#stack.drainBacklog(this.row, now);
    this.#into = undefined;
    return this.#got;
  }

  /** All at once: `onData` takes it. */
  discard(now: Instant): number {
    if (this.#stack.waiting(this.row) > 0) this.#stack.drainBacklog(this.row, now);
    return 0;
  }

  /** As `FlowOwner.onData`: bytes are taken by `read`, or thrown away. */
  onData(at: number, length: number): number {
    if (this.end.isDiscarding) {
      this.end.bytesDown += length;
      return length;
    }
    const into = this.#into;
    if (into === undefined) return 0;
    const taken = Math.min(length, this.#wanted - this.#got);
    copyBytes(this.#stack.arena.bytes, at, into.bytes, into.at + this.#got, taken);
    this.#got += taken;
    return taken;
  }

  /** A slab with the first `length` bytes of the queue, which are consumed; or NO_SLAB. */
  #slabOf(queue: SlabQueue, length: number): number {
    if (queue.isFrontWhole && length === queue.frontLength) return queue.takeFront();
    const stack = this.#stack;
    const slabAt = stack.slabs.take(length);
    if (slabAt === NO_SLAB) return NO_SLAB;
    const from = queue.frontAt;
    stack.arena.bytes.copyWithin(slabAt + SLAB_PAYLOAD_AT, from, from + length);
    queue.consume(length);
    return slabAt;
  }
}
