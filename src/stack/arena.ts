/**
 * One block of memory for all that must outlive a process: flow rows, TCBs, slabs, frames. It is
 * laid out by a fixed sequence of `take` calls, so that two processes that make the same calls
 * over the same memory (a `memfd`) see the same state. Positions, not pointers, go around.
 */
export class Arena {
  readonly buffer: ArrayBuffer;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  #next = 0;

  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer;
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
  }

  /**
   * Reserves `length` bytes.
   *
   * @param align  a power of two
   * @returns      position of the first byte
   * @throws Error when the arena is too small: its size is computed from the same limits
   */
  take(length: number, align = 64): number {
    const at = Math.ceil(this.#next / align) * align;
    if (at + length > this.buffer.byteLength) {
      throw new Error(`arena of ${this.buffer.byteLength} bytes cannot hold ${length} more`);
    }
    this.#next = at + length;
    return at;
  }

  /** Bytes taken so far. */
  get used(): number {
    return this.#next;
  }
}
