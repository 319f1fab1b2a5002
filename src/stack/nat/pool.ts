import type { Arena } from '../arena.ts';
import type { HalfSipHash } from '../sip-hash.ts';

/** More do not fit the memory that is set aside for them. */
export const POOL_ADDRESSES_MAX = 256;
const ADDRESS_BYTES = 16;
const FAMILIES = 2;

/** Not an address. */
export const NO_ADDRESS = -1;

/** The addresses that the sources of flows are translated to, by family. They lie in the arena. */
export class Pool {
  readonly #arena: Arena;
  readonly #at: number;
  readonly #hash: HalfSipHash;
  #ipv4 = 0;
  #ipv6 = 0;

  static readonly BYTES = FAMILIES * POOL_ADDRESSES_MAX * ADDRESS_BYTES + 64;

  constructor(arena: Arena, hash: HalfSipHash) {
    this.#arena = arena;
    this.#at = arena.take(FAMILIES * POOL_ADDRESSES_MAX * ADDRESS_BYTES);
    this.#hash = hash;
  }

  /**
   * Replaces all addresses; flows keep what they have.
   *
   * @param addresses  4 or 16 bytes each, at most POOL_ADDRESSES_MAX of a family
   * @throws Error when there are more
   */
  set(addresses: readonly Uint8Array[]): void {
    const ipv4 = addresses.filter(({ length }) => length === 4);
    const ipv6 = addresses.filter(({ length }) => length !== 4);
    if (Math.max(ipv4.length, ipv6.length) > POOL_ADDRESSES_MAX) {
      throw new Error(`a pool has at most ${POOL_ADDRESSES_MAX} addresses of a family`);
    }
    for (const [i, address] of ipv4.entries()) {
      this.#arena.bytes.set(address, this.#firstAt(4) + i * ADDRESS_BYTES);
    }
    for (const [i, address] of ipv6.entries()) {
      this.#arena.bytes.set(address, this.#firstAt(16) + i * ADDRESS_BYTES);
    }
    this.#ipv4 = ipv4.length;
    this.#ipv6 = ipv6.length;
  }

  /**
   * The address for a client: always the same one, as long as the pool stays what it is. RFC 4787
   * REQ-2, "paired".
   *
   * @returns its position in the arena; NO_ADDRESS when there is none of this family
   */
  addressFor(clientAt: number, length: number): number {
    const count = length === 4 ? this.#ipv4 : this.#ipv6;
    if (count === 0) return NO_ADDRESS;
    const { view } = this.#arena;
    const hash = this.#hash;
    hash.start();
    for (let i = 0; i < length; i += 4) hash.word(view.getInt32(clientAt + i));
    return this.#firstAt(length) + (hash.finish() % count) * ADDRESS_BYTES;
  }

  has(at: number, length: number): boolean {
    const { view } = this.#arena;
    const firstAt = this.#firstAt(length);
    const end = firstAt + (length === 4 ? this.#ipv4 : this.#ipv6) * ADDRESS_BYTES;
    for (let address = firstAt; address < end; address += ADDRESS_BYTES) {
      let isSame = true;
      for (let i = 0; i < length; i += 4) {
        if (view.getInt32(address + i) !== view.getInt32(at + i)) isSame = false;
      }
      if (isSame) return true;
    }
    return false;
  }

  #firstAt(length: number): number {
    return length === 4 ? this.#at : this.#at + POOL_ADDRESSES_MAX * ADDRESS_BYTES;
  }
}
