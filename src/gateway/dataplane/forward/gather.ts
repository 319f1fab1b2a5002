/**
 * Datagrams of one session that wait to leave with one call of the kernel, one behind the other in
 * a slab. All have the size of the first; a shorter one can only be the last.
 *
 * Copying 1,400 bytes costs 30 ns, a call of `send` with all that lies below it 3.5 µs; sent
 * together, sixteen datagrams cost 0.6 µs each.
 */
import { NO_SLAB, SLAB_PAYLOAD_AT, type SlabPool } from '../../../stack/slab-pool.ts';
import { NO_ROW } from '../row-queues.ts';

/** UDP_MAX_SEGMENTS of older kernels; include/linux/udp.h. */
const DATAGRAMS_MAX = 64;
/** Below the longest UDP payload of both families, 65,507 and 65,527 bytes. */
const BYTES_MAX = 65_000;
/** More than this is long enough for a call of its own. */
export const GATHERED_BYTES_MAX = 16_384;

export class Gather {
  row = NO_ROW;
  /** Bytes of each datagram but the last. */
  size = 0;
  length = 0;
  count = 0;
  #slabAt = NO_SLAB;

  /** Where the datagrams lie. */
  get at(): number {
    return this.#slabAt + SLAB_PAYLOAD_AT;
  }

  /** Whether a datagram of this length may follow those that are here. */
  takes(length: number): boolean {
    return (
      this.count < DATAGRAMS_MAX &&
      length <= this.size &&
      // A shorter one came last.
      this.length === this.count * this.size &&
      this.length + length <= BYTES_MAX
    );
  }

  /** Has a slab to copy to; the first call takes one, for ever. @returns false: none is left */
  prepare(slabs: SlabPool): boolean {
    if (this.#slabAt === NO_SLAB) this.#slabAt = slabs.take(BYTES_MAX);
    return this.#slabAt !== NO_SLAB;
  }

  add(bytes: Uint8Array, at: number, length: number): void {
    if (this.count === 0) this.size = length;
    const to = this.at + this.length;
    bytes.copyWithin(to, at, at + length);
    this.length += length;
    this.count += 1;
  }

  clear(): void {
    this.row = NO_ROW;
    this.length = 0;
    this.count = 0;
  }
}
