/** Reads numbers in network order, and can be driven past the end without harm. */
export class ByteReader {
  at: number;
  /** One past the last. */
  readonly end: number;
  /** Something was read, or skipped, that lies past the end: what was read since is worthless. */
  isShort = false;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes;
    this.at = at;
    this.end = Math.min(end, bytes.length);
  }

  get left(): number {
    return this.end - this.at;
  }

  u8(): number {
    if (this.at >= this.end) {
      this.isShort = true;
      return 0;
    }
    return this.#bytes[this.at++]!;
  }

  u16(): number {
    return (this.u8() << 8) | this.u8();
  }

  u24(): number {
    return (this.u8() << 16) | this.u16();
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16();
  }

  /** RFC 9000 §16. Above 2^53 it is not exact, and longer than anything here. */
  varint(): number {
    const first = this.u8();
    const value = first & 0x3f;
    switch (first >>> 6) {
      case 0:
        return value;
      case 1:
        return (value << 8) | this.u8();
      case 2:
        return (value << 24) | this.u24();
      default:
        return (((value << 24) | this.u24()) >>> 0) * 0x1_0000_0000 + this.u32();
    }
  }

  /** @returns where the skipped bytes began */
  skip(length: number): number {
    const from = this.at;
    if (length > this.left) this.isShort = true;
    this.at = Math.min(this.at + length, this.end);
    return from;
  }
}
