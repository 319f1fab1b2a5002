/**
 * IPv6-to-IPv6 network prefix translation, RFC 6296: an inside prefix becomes an outside one and
 * back, without any state. What the prefix adds to a checksum is taken from another word of the
 * address, so that no checksum of any protocol changes, nor of an error that quotes the packet.
 *
 *   prefixes up to /48   the subnet, bits 48 to 63, makes up for it: §3.4
 *   up to /64            the first word of the interface identifier does that is not 0xffff: §3.5,
 *                        §3.7
 */
import { fold, sum } from '../wire/checksum.ts';
import { type Cidr, matchesPrefix } from '../wire/ip-address.ts';
import { IPV6_ADDRESS_BYTES } from '../wire/ipv6.ts';

const MAX_PREFIX_BITS = 64;
/** Up to here the subnet is whole, and makes up for the prefix. */
const MAX_SUBNET_BITS = 48;
const PREFIX_BYTES = MAX_PREFIX_BITS / 8;
const SUBNET_AT = 6;
const NO_WORD = -1;
/** One of the two zeros of one's complement: never written, and no word that has it is changed. */
const OTHER_ZERO = 0xffff;

export class PrefixTranslation {
  /** Bits of both prefixes: of the longer one, for the other is filled up with zeros. */
  readonly #length: number;
  readonly #inside: Uint8Array<ArrayBuffer>;
  readonly #outside: Uint8Array<ArrayBuffer>;
  /** What is added to the word that makes up for the prefix, on the way out and in. */
  readonly #outwardChange: number;
  readonly #inwardChange: number;

  /** @throws Error when one is no IPv6 prefix of at most 64 bits */
  constructor(inside: Cidr, outside: Cidr) {
    this.#length = Math.max(inside.prefixLength, outside.prefixLength);
    if (
      inside.bytes.length !== IPV6_ADDRESS_BYTES ||
      outside.bytes.length !== IPV6_ADDRESS_BYTES ||
      this.#length > MAX_PREFIX_BITS
    ) {
      throw new Error('prefix translation is for IPv6 prefixes of at most 64 bits');
    }
    this.#inside = prefixBytes(inside);
    this.#outside = prefixBytes(outside);
    const insideSum = sumOf(this.#inside);
    const outsideSum = sumOf(this.#outside);
    this.#outwardChange = fold(insideSum + (~outsideSum & 0xffff));
    this.#inwardChange = fold(outsideSum + (~insideSum & 0xffff));
  }

  isInside(view: DataView, at: number): boolean {
    return matchesPrefix(view, at, this.#inside, this.#length);
  }

  isOutside(view: DataView, at: number): boolean {
    return matchesPrefix(view, at, this.#outside, this.#length);
  }

  /**
   * Gives the address at `at`, which is inside, its outside prefix.
   *
   * @returns false, and nothing is written, when it has no other side: its packet is dropped
   */
  outward(view: DataView, at: number): boolean {
    return this.#translate(view, at, this.#outside, this.#outwardChange);
  }

  /** The same for an address that is outside. */
  inward(view: DataView, at: number): boolean {
    return this.#translate(view, at, this.#inside, this.#inwardChange);
  }

  #translate(view: DataView, at: number, prefix: Uint8Array, change: number): boolean {
    const wordAt = this.#length <= MAX_SUBNET_BITS ? subnetAt(view, at) : identifierAt(view, at);
    if (wordAt === NO_WORD) return false;
    for (let i = 0; i < PREFIX_BYTES; i++) {
      const mask = maskOf(this.#length, i);
      view.setUint8(at + i, (view.getUint8(at + i) & ~mask) | prefix[i]!);
    }
    const word = fold(view.getUint16(wordAt) + change);
    view.setUint16(wordAt, word === OTHER_ZERO ? 0 : word);
    return true;
  }
}

/** Bits of byte `index` that are among the first `length` bits. */
const maskOf = (length: number, index: number): number =>
  (0xff00 >> Math.max(0, Math.min(8, length - index * 8))) & 0xff;

/** The prefix alone; a Cidr keeps what was written behind it. */
function prefixBytes({ bytes, prefixLength }: Cidr): Uint8Array<ArrayBuffer> {
  return bytes.slice(0, PREFIX_BYTES).map((byte, i) => byte & maskOf(prefixLength, i));
}

const sumOf = (prefix: Uint8Array<ArrayBuffer>): number =>
  fold(sum(new DataView(prefix.buffer), 0, PREFIX_BYTES));

const subnetAt = (view: DataView, at: number): number =>
  view.getUint16(at + SUBNET_AT) === OTHER_ZERO ? NO_WORD : at + SUBNET_AT;

/** An identifier of zeros is the anycast address of routers (RFC 4291 §2.6.1): refused, §3.7. */
function identifierAt(view: DataView, at: number): number {
  const identifier = at + PREFIX_BYTES;
  if (view.getInt32(identifier) === 0 && view.getInt32(identifier + 4) === 0) return NO_WORD;
  for (let wordAt = identifier; wordAt < at + IPV6_ADDRESS_BYTES; wordAt += 2) {
    if (view.getUint16(wordAt) !== OTHER_ZERO) return wordAt;
  }
  return NO_WORD;
}
