/**
 * SYN cookies, RFC 4987 §3.6: the state of a half-open connection travels in the SYN-ACK and comes
 * back in the client's ACK, so that a spoofed SYN costs a hash and a frame, and no memory.
 *
 *   sequence number of the SYN-ACK   | 29 bits of a keyed hash                 | MSS class, 3 |
 *   its timestamp (RFC 7323)         | clock, 26 bits | ECN | SACK | window scale, 4 bits     |
 *
 * The hash covers both ends, the client's sequence number and the MSS class, under a key that lives
 * for SLOT_US; the key before it is still taken, so that a cookie is good for one to two minutes.
 * A forger hits one of 2^28 blindly sent ACKs, and only while cookies are in use at all. The low
 * bits of the timestamp are not covered: a client that changes them harms itself only. Without
 * timestamps the connection has neither scaling nor SACK, as on Linux (net/ipv4/syncookies.c).
 *
 * What is lost: a SYN-ACK is not sent again, and a client whose first ACK is lost must be the first
 * to speak. So cookies are used under pressure only.
 */
import { HalfSipHash } from '../sip-hash.ts';
import type { Instant } from '../time.ts';
import { seconds } from '../time.ts';
import { asSeq, type Seq, seqAdd } from '../wire/seq.ts';
import { type Segment, timestampClock } from './segment.ts';
import { hashEnds, type SynPacket } from './syn-packet.ts';

/** Half of the longest life of a cookie: longer than a client waits for its SYN-ACK to arrive. */
const SLOT_US = seconds(60);
const COOKIE_LIFE_MS = (2 * SLOT_US) / 1000;

/**
 * What is left of the client's MSS: the largest class not above it. The defaults of RFC 9293
 * §3.7.1, and the usual paths: tunnels, PPPoE, IPv6 and IPv4 over Ethernet, jumbo frames.
 */
const MSS_CLASSES = [64, 536, 1220, 1360, 1380, 1440, 1460, 8940] as const;
const CLASS_MASK = MSS_CLASSES.length - 1;

/** Low bits of the timestamp. */
const SCALE_MASK = 0b1111;
/** No shift count: RFC 7323 §2.3 ends at 14. */
const NO_SCALE = 0b1111;
const SACK_BIT = 1 << 4;
const ECN_BIT = 1 << 5;
const OPTION_MASK = 0b111111;

/** What an ACK has to do with our cookies. */
export const CookieMatch = {
  NONE: 0,
  /** It answers a SYN-ACK with a cookie. */
  FIRST: 1,
  /** By its timestamp it comes from such a connection, but it is not the first segment of it. */
  LATER: 2,
} as const;
export type CookieMatch = (typeof CookieMatch)[keyof typeof CookieMatch];

export class SynCookies {
  readonly #view: DataView;
  readonly #refill: (secrets: Uint32Array) => void;
  readonly #secrets = new Uint32Array(2);
  #slot = Number.NEGATIVE_INFINITY;
  #current: HalfSipHash;
  #previous: HalfSipHash;
  #lastMadeAt = Number.NEGATIVE_INFINITY;

  /** Cookie and timestamp of the SYN-ACK that `make` prepared. */
  iss: Seq = asSeq(0);
  tsValue = 0;
  /** Start of the connection's timestamp clock, found by `check`. */
  tsOffset = 0;
  /** The client has ECN, as its SYN was answered, or by its cookie. */
  hasEcn = false;

  /** @param refill  fills the array with secret bits of the system's random source */
  constructor(view: DataView, refill: (secrets: Uint32Array) => void) {
    this.#view = view;
    this.#refill = refill;
    this.#current = this.#newKey();
    this.#previous = this.#newKey();
  }

  /**
   * Prepares the answer to the SYN in `segment`: `iss`, `tsValue` and `hasEcn`. Options that the
   * cookie cannot keep are taken out of the segment, so that they are not negotiated.
   *
   * @param canHaveEcn  it asks for ECN, and such clients have it now; the cookie keeps the answer
   */
  make(
    packet: SynPacket,
    segment: Segment,
    peerMss: number,
    canHaveEcn: boolean,
    now: Instant,
  ): void {
    this.#rotate(now);
    this.#lastMadeAt = now;
    let mssClass = CLASS_MASK;
    while (mssClass > 0 && MSS_CLASSES[mssClass]! > peerMss) mssClass -= 1;
    this.iss = this.#cookie(this.#current, packet, segment, segment.seq, mssClass);
    const { options } = segment;
    this.hasEcn = options.hasTimestamps && canHaveEcn;
    if (!options.hasTimestamps) {
      options.windowScale = -1;
      options.sackPermitted = false;
      return;
    }
    let bits = options.windowScale < 0 ? NO_SCALE : options.windowScale;
    if (options.sackPermitted) bits |= SACK_BIT;
    if (this.hasEcn) bits |= ECN_BIT;
    const clock = (timestampClock(now) + this.#offset(this.#current, packet, segment)) >>> 0;
    const value = (clock & ~OPTION_MASK) | bits;
    // The timestamps that follow must not seem older than this one (RFC 7323 §5.3).
    const isEarly = ((value - clock) | 0) > 0;
    this.tsValue = (isEarly ? value - OPTION_MASK - 1 : value) >>> 0;
  }

  /**
   * Whether the ACK in `segment` answers a SYN-ACK of `make`. If so, its options become those of
   * the SYN, and `tsOffset` and `hasEcn` are set.
   *
   * Only the first segment of a connection carries what the cookie was made of. When it is lost,
   * a tail loss probe of the client (RFC 8985 §7) may come before it is sent again; a reset would
   * end what is about to begin. The timestamp of such a segment fits by chance once in 2^15.
   */
  check(packet: SynPacket, segment: Segment, now: Instant): CookieMatch {
    this.#rotate(now);
    const match = this.#checkWith(this.#current, packet, segment, now);
    if (match !== CookieMatch.NONE) return match;
    return this.#checkWith(this.#previous, packet, segment, now);
  }

  /** Whether a cookie may be out there that is still good. */
  isAwaited(now: Instant): boolean {
    return now - this.#lastMadeAt < 2 * SLOT_US;
  }

  #checkWith(key: HalfSipHash, packet: SynPacket, segment: Segment, now: Instant): CookieMatch {
    const cookie = seqAdd(segment.ack, -1);
    const mssClass = cookie & CLASS_MASK;
    const irs = seqAdd(segment.seq, -1);
    const isFirst = this.#cookie(key, packet, segment, irs, mssClass) === cookie;
    const { options } = segment;
    if (!isFirst && !options.hasTimestamps) return CookieMatch.NONE;
    this.tsOffset = this.#offset(key, packet, segment);
    this.hasEcn = false;
    if (options.hasTimestamps) {
      const clock = timestampClock(now) + this.tsOffset;
      const age = (clock - options.tsEcho) | 0;
      if (age < 0 || age > COOKIE_LIFE_MS + OPTION_MASK) return CookieMatch.NONE;
      if (!isFirst) return CookieMatch.LATER;
      const bits = options.tsEcho & OPTION_MASK;
      const scale = bits & SCALE_MASK;
      options.windowScale = scale === NO_SCALE ? -1 : scale;
      options.sackPermitted = (bits & SACK_BIT) !== 0;
      this.hasEcn = (bits & ECN_BIT) !== 0;
    }
    options.mss = MSS_CLASSES[mssClass]!;
    return CookieMatch.FIRST;
  }

  #cookie(key: HalfSipHash, packet: SynPacket, segment: Segment, irs: Seq, mssClass: number): Seq {
    key.start();
    hashEnds(key, this.#view, packet, segment);
    key.word(irs);
    key.word(mssClass);
    return asSeq((key.finish() & ~CLASS_MASK) | mssClass);
  }

  /** Start of the timestamp clock of a connection: told apart from a cookie by its length. */
  #offset(key: HalfSipHash, packet: SynPacket, segment: Segment): number {
    key.start();
    hashEnds(key, this.#view, packet, segment);
    return key.finish();
  }

  /** A new key each minute in which cookies are used; it allocates, once a minute. */
  #rotate(now: Instant): void {
    const slot = Math.floor(now / SLOT_US);
    if (slot === this.#slot) return;
    this.#previous = slot === this.#slot + 1 ? this.#current : this.#newKey();
    this.#current = this.#newKey();
    this.#slot = slot;
  }

  #newKey(): HalfSipHash {
    this.#refill(this.#secrets);
    return new HalfSipHash(this.#secrets[0]!, this.#secrets[1]!);
  }
}
