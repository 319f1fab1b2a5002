/** Bytes on their way to one end, in slabs, until that end takes them. */
import { copyBytes } from '../../../ffi/memory.ts';
import type { Arena } from '../../../stack/arena.ts';
import {
  MEDIUM_SLAB_PAYLOAD_BYTES,
  NO_SLAB,
  SLAB_PAYLOAD_AT,
  SlabField,
  type SlabPool,
} from '../../../stack/slab-pool.ts';

export class SlabQueue {
  readonly #arena: Arena;
  readonly #slabs: SlabPool;
  #head = NO_SLAB;
  #tail = NO_SLAB;
  #length = 0;

  constructor(arena: Arena, slabs: SlabPool) {
    this.#arena = arena;
    this.#slabs = slabs;
  }

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** Where the first bytes that wait lie in the arena; of a queue that is not empty. */
  get frontAt(): number {
    return this.#head + SLAB_PAYLOAD_AT + this.#word(this.#head, SlabField.TAKEN);
  }

  /** How many lie there in one piece. */
  get frontLength(): number {
    return this.#word(this.#head, SlabField.LENGTH) - this.#word(this.#head, SlabField.TAKEN);
  }

  /** Nothing of the first slab was consumed: it can be taken as it is. */
  get isFrontWhole(): boolean {
    return this.#word(this.#head, SlabField.TAKEN) === 0;
  }

  /**
   * Copies bytes behind the others.
   *
   * @returns false when no slab is left; some of the bytes may be in the queue then
   */
  append(from: Uint8Array, at: number, length: number): boolean {
    const { view, bytes } = this.#arena;
    let copied = 0;
    while (copied < length) {
      const used = this.#tail === NO_SLAB ? 0 : this.#word(this.#tail, SlabField.LENGTH);
      const free = this.#tail === NO_SLAB ? 0 : this.#slabs.payloadOf(this.#tail) - used;
      if (free === 0) {
        if (!this.#grow(length - copied)) return false;
        continue;
      }
      const part = Math.min(free, length - copied);
      const to = this.#tail + SLAB_PAYLOAD_AT + used;
      copyBytes(from, at + copied, bytes, to, part);
      view.setUint32(this.#tail + SlabField.LENGTH, used + part, true);
      copied += part;
      this.#length += part;
    }
    return true;
  }

  /** Drops the first bytes, `frontLength` at most. */
  consume(length: number): void {
    const head = this.#head;
    this.#length -= length;
    if (length === this.frontLength) {
      this.#unlink();
      this.#slabs.release(head);
      return;
    }
    const taken = this.#word(head, SlabField.TAKEN) + length;
    this.#arena.view.setUint32(head + SlabField.TAKEN, taken, true);
  }

  /** Takes out the first slab, which is whole; it is the caller's. */
  takeFront(): number {
    const head = this.#head;
    this.#length -= this.frontLength;
    this.#unlink();
    return head;
  }

  /** Gives everything back. */
  release(): void {
    while (this.#head !== NO_SLAB) this.consume(this.frontLength);
  }

  /** Many small writes share slabs: one of its own for each would hold far more than they are. */
  #grow(wanted: number): boolean {
    const least = this.#tail === NO_SLAB ? 0 : MEDIUM_SLAB_PAYLOAD_BYTES;
    const slabAt = this.#slabs.take(Math.max(wanted, least));
    if (slabAt === NO_SLAB) return false;
    const { view } = this.#arena;
    view.setInt32(slabAt + SlabField.NEXT, NO_SLAB, true);
    view.setUint32(slabAt + SlabField.LENGTH, 0, true);
    view.setUint32(slabAt + SlabField.TAKEN, 0, true);
    if (this.#tail === NO_SLAB) this.#head = slabAt;
    else view.setInt32(this.#tail + SlabField.NEXT, slabAt, true);
    this.#tail = slabAt;
    return true;
  }

  #unlink(): void {
    this.#head = this.#arena.view.getInt32(this.#head + SlabField.NEXT, true);
    if (this.#head === NO_SLAB) this.#tail = NO_SLAB;
  }

  #word(slabAt: number, field: number): number {
    return this.#arena.view.getUint32(slabAt + field, true);
  }
}
