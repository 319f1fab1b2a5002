/**
 * Where bytes of an upstream are received: slabs that stand ready, filled by one call of the
 * kernel. Four superpackets a call cost the upstream one acknowledgment and wake-up for each four,
 * not for each: with eight downloads at once a fifth more throughput (BENCHMARKS.md).
 */
import { ReceiveVector, receive, receiveVector } from '../../../ffi/sockets.ts';
import {
  LARGE_SLAB_PAYLOAD_BYTES,
  MEDIUM_SLAB_PAYLOAD_BYTES,
  NO_SLAB,
  SLAB_PAYLOAD_AT,
  SLAB_PAYLOAD_BYTES,
  type SlabPool,
} from '../../../stack/slab-pool.ts';

const SLABS = 4;
const SMALL = SLAB_PAYLOAD_BYTES[0]!;

export class Landing {
  readonly #slabs: SlabPool;
  readonly #bytes: Uint8Array;
  /** Address of the arena's first byte, for the kernel. */
  readonly #base: number;
  /** Empty slabs; the last is filled first. */
  readonly #ready = new Int32Array(SLABS).fill(NO_SLAB);
  #count = 0;
  readonly #vector = new ReceiveVector(SLABS);

  constructor(slabs: SlabPool, bytes: Uint8Array, base: number) {
    this.#slabs = slabs;
    this.#bytes = bytes;
    this.#base = base;
  }

  /** Takes slabs, up to `wanted`. @returns how many stand ready; 0 when the budget is used up */
  prepare(wanted: number): number {
    const target = Math.min(wanted, SLABS);
    while (this.#count < target) {
      const slabAt = this.#slabs.take(LARGE_SLAB_PAYLOAD_BYTES);
      if (slabAt === NO_SLAB) break;
      this.#ready[this.#count++] = slabAt;
    }
    return Math.min(this.#count, target);
  }

  /** Receives `piece` bytes into each of `count` slabs that stand ready. @returns as `receive` */
  receive(fd: number, piece: number, count: number): number {
    if (count === 1) return receive(fd, this.#addressOfNext(0), piece);
    for (let i = 0; i < count; i++) this.#vector.set(i, this.#addressOfNext(i), piece);
    return receiveVector(fd, this.#vector, count);
  }

  /** Receives behind the `filled` bytes of the slab that is taken next. @returns as `receive` */
  receiveMore(fd: number, filled: number, length: number): number {
    return receive(fd, this.#addressOfNext(0) + filled, length);
  }

  /** The next slab, or the smallest that holds its `length` bytes, which are copied there. */
  take(length: number): number {
    const slabAt = this.#ready[this.#count - 1]!;
    if (length <= MEDIUM_SLAB_PAYLOAD_BYTES) {
      const fittingAt = this.#slabs.take(length <= SMALL ? SMALL : MEDIUM_SLAB_PAYLOAD_BYTES);
      if (fittingAt !== NO_SLAB) {
        const from = slabAt + SLAB_PAYLOAD_AT;
        this.#bytes.copyWithin(fittingAt + SLAB_PAYLOAD_AT, from, from + length);
        return fittingAt;
      }
    }
    this.#count -= 1;
    return slabAt;
  }

  #addressOfNext(index: number): number {
    return this.#base + this.#ready[this.#count - 1 - index]! + SLAB_PAYLOAD_AT;
  }
}
