/**
 * Records from one process to another: a ring in memory that both map. There is one writer and one
 * reader, neither waits: what finds no room is not written.
 *
 *   | head | tail | lost | … | record | record | pad |
 *
 * A record never goes round the end: where it does not fit, a pad fills what is left. Positions are
 * of 32 bits and go on beyond the size of the ring, which is a power of two.
 *
 * The writer may be a process that runs code of strangers, and may write anywhere. So the reader
 * knows its own position by itself, and takes no word of the writer for where a record ends, nor
 * for how much there is: a call looks at no more than the ring can hold.
 */

/** Of 32 bits each: positions of the writer and of the reader, and records without room. */
const HEAD = 0;
const TAIL = 1;
const LOST = 2;
const HEADER_WORDS = 3;
const HEADER_BYTES = 64;
const ALIGNMENT = 8;
/** A record for each of so many bytes of the ring is the most that a call reads. */
const BYTES_PER_RECORD = 64;

/** How every record begins, in host order. */
export const RingField = {
  /** uint32: of the whole record; of a pad too. */
  LENGTH: 0,
  /** uint8: not 0 when it is for the reader. */
  IS_WANTED: 4,
} as const;

/** No room for a record. */
export const NO_RECORD = -1;

/** Length of the memory of a ring. @param bytes  for records, a power of two */
export const ringBytes = (bytes: number): number => HEADER_BYTES + bytes;

export class SharedRing {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly #positions: Int32Array;
  readonly #recordsAt: number;
  readonly #size: number;
  /** Of the writer, ahead of what the reader sees. */
  #head: number;
  /** Of the reader; the writer gets a copy. */
  #tail: number;

  /**
   * @param at    where its memory begins in the buffer
   * @param size  bytes for records, as of `ringBytes`
   */
  constructor(buffer: ArrayBuffer, at: number, size: number) {
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.#positions = new Int32Array(buffer, at, HEADER_WORDS);
    this.#recordsAt = at + HEADER_BYTES;
    this.#size = size;
    // A writer before this one may have left anything.
    this.#head = alignDown(this.#load(HEAD));
    this.#tail = alignDown(this.#load(TAIL));
  }

  /** Begins a record of so many bytes. @returns its position, or NO_RECORD */
  begin(bytes: number): number {
    const length = roundUp(bytes);
    const toEnd = this.#toEnd(this.#head);
    const pad = length > toEnd ? toEnd : 0;
    if (this.#used + pad + length > this.#size) {
      Atomics.add(this.#positions, LOST, 1);
      return NO_RECORD;
    }
    if (pad > 0) {
      this.view.setUint32(this.#at(this.#head) + RingField.LENGTH, pad, true);
      this.view.setUint8(this.#at(this.#head) + RingField.IS_WANTED, 0);
      this.#head = (this.#head + pad) >>> 0;
    }
    const at = this.#at(this.#head);
    this.view.setUint32(at + RingField.LENGTH, length, true);
    this.#head = (this.#head + length) >>> 0;
    return at;
  }

  /** Takes back a record that nobody wants; where others follow, it is skipped by its reader. */
  takeBack(at: number): void {
    const length = this.view.getUint32(at + RingField.LENGTH, true);
    this.view.setUint8(at + RingField.IS_WANTED, 0);
    const end = (this.#head - length) >>> 0;
    if (this.#at(end) === at) this.#head = end;
  }

  /** All that was begun is complete. */
  publish(): void {
    Atomics.store(this.#positions, HEAD, this.#head | 0);
  }

  /**
   * Hands over what is published, oldest first, and makes room of it. Of many small records some
   * may be left for the next call; a head that cannot be loses what is there.
   *
   * @param onRecord  gets its position and its length, rounded up to 8
   */
  read(onRecord: (at: number, length: number) => void): void {
    const head = this.#load(HEAD);
    if (head % ALIGNMENT !== 0 || (head - this.#tail) >>> 0 > this.#size) {
      this.#goTo(alignDown(head));
      return;
    }
    let tail = this.#tail;
    for (let left = this.#size / BYTES_PER_RECORD; tail !== head && left > 0; left--) {
      const at = this.#at(tail);
      // The writer may have died inside a record that was there before it: begin afresh.
      const length = this.view.getUint32(at + RingField.LENGTH, true);
      const most = Math.min((head - tail) >>> 0, this.#toEnd(tail));
      if (length < ALIGNMENT || length % ALIGNMENT !== 0 || length > most) {
        tail = head;
        break;
      }
      if (this.view.getUint8(at + RingField.IS_WANTED) !== 0) onRecord(at, length);
      tail = (tail + length) >>> 0;
    }
    this.#goTo(tail);
  }

  /** Records so far for which there was no room. */
  get lost(): number {
    return this.#load(LOST);
  }

  get #used(): number {
    return (this.#head - this.#load(TAIL)) >>> 0;
  }

  /** What is before is read. */
  #goTo(tail: number): void {
    this.#tail = tail;
    Atomics.store(this.#positions, TAIL, tail | 0);
  }

  #load(which: number): number {
    return Atomics.load(this.#positions, which) >>> 0;
  }

  #toEnd(position: number): number {
    return this.#size - (position & (this.#size - 1));
  }

  #at(position: number): number {
    return this.#recordsAt + (position & (this.#size - 1));
  }
}

const alignDown = (position: number): number => (position & -ALIGNMENT) >>> 0;
const roundUp = (bytes: number): number => (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
