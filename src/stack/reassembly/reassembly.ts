/**
 * Fragments become packets again: RFC 791 §3.2, RFC 8200 §4.5.
 *
 * A packet that is not whole yet has its header, and its payload in chunks, each byte at its place;
 * a bit per 8 bytes tells what has arrived. So a fragment is copied once, in whatever order they
 * come, and once more when the packet is whole. There is no list of fragments to grow, and nothing
 * to search in one.
 *
 * Bounds: packets and bytes, of all and of one source, and time. At a bound the oldest packet gives
 * way, of the same source if it is that source's bound. Time is looked at when a fragment comes:
 * the memory is set aside anyway, and need not be given back in time.
 *
 * A fragment that overlaps another with bytes of its own ends its packet (RFC 5722 §4, and for
 * IPv4 too): which bytes count would depend on the reader, and that is how filters are deceived.
 * One that brings nothing new is a duplicate of the network, and is ignored.
 */
import type { Arena } from '../arena.ts';
import { Counter, type Counters } from '../counters.ts';
import { DropReason } from '../drop-reason.ts';
import type { HalfSipHash } from '../sip-hash.ts';
import { type Instant, seconds } from '../time.ts';
import { Ecn } from '../wire/ecn.ts';
import { IPV4_HEADER_BYTES, Ipv4Field, refreshHeaderChecksum } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, Ipv6Field } from '../wire/ipv6.ts';
import { CHUNK_COUNT, Chunks } from './chunks.ts';
import { checkFragment, FRAGMENT_UNIT, type Fragment } from './fragment.ts';
import { PartialPacket } from './partial-packet.ts';

/** Packets that are not whole. */
const PACKETS = 256;
/** A quarter for one IPv4 address or IPv6 /64. */
const PACKETS_PER_SOURCE = PACKETS / 4;
const CHUNKS_PER_SOURCE = CHUNK_COUNT / 4;
/** Linux (net.ipv4.ipfrag_time); RFC 1122 §3.3.2 and RFC 8200 §4.5 have 60 s. */
const LIFE_US = seconds(30);
/** In front of a whole packet: a vnet header, should it be handed back to the device. */
const HEADROOM_BYTES = 64;
const MAX_PACKET_BYTES = IPV6_HEADER_BYTES + 0xffff;

export class Reassembly {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #counters: Counters;
  readonly #hash: HalfSipHash;
  readonly #chunks: Chunks;
  /** The first `#count` are in use. */
  readonly #packets: PartialPacket[] = [];
  #count = 0;

  /** Where the packet lies that `add` made whole; valid until the next call. */
  readonly packetAt: number;
  packetEnd = 0;
  isWhole = false;

  static readonly BYTES =
    Chunks.BYTES + PACKETS * IPV6_HEADER_BYTES + HEADROOM_BYTES + MAX_PACKET_BYTES + 2 * 64;

  constructor(arena: Arena, counters: Counters, hash: HalfSipHash) {
    this.#view = arena.view;
    this.#bytes = arena.bytes;
    this.#counters = counters;
    this.#hash = hash;
    this.#chunks = new Chunks(arena);
    const headersAt = arena.take(PACKETS * IPV6_HEADER_BYTES);
    for (let i = 0; i < PACKETS; i++) {
      this.#packets.push(new PartialPacket(headersAt + i * IPV6_HEADER_BYTES, this.#chunks));
    }
    this.packetAt = arena.take(HEADROOM_BYTES + MAX_PACKET_BYTES) + HEADROOM_BYTES;
  }

  /** Takes a fragment. With NONE it is kept, or it made its packet whole: see `isWhole`. */
  add(fragment: Fragment, now: Instant): DropReason {
    this.isWhole = false;
    const reason = checkFragment(fragment);
    if (reason !== DropReason.NONE) return reason;
    this.#dropStale(now);
    const sourceHash = this.#hashSource(fragment);
    const index = this.#find(fragment, sourceHash);
    const packet = index < 0 ? this.#begin(fragment, sourceHash, now) : this.#packets[index]!;
    if (packet.contradicts(fragment)) return this.#refuse(packet, DropReason.FRAGMENT_OVERLAP);
    const known = packet.countKnown(fragment);
    if (known > 0) {
      const isDuplicate = known === Math.ceil(fragment.payloadLength / FRAGMENT_UNIT);
      if (isDuplicate) return DropReason.DUPLICATE;
      return this.#refuse(packet, DropReason.FRAGMENT_OVERLAP);
    }
    if (!this.#makeRoom(packet, fragment)) return this.#refuse(packet, DropReason.FRAGMENT_LIMIT);
    this.#keep(packet, fragment);
    if (packet.received !== packet.total) {
      packet.fragments += 1;
      this.#counters.add(Counter.IN_FRAGMENTS_NOW);
      return DropReason.NONE;
    }
    return this.#finish(packet);
  }

  /** Ends packets that have waited too long. */
  #dropStale(now: Instant): void {
    for (let i = this.#count - 1; i >= 0; i--) {
      const packet = this.#packets[i]!;
      if (now - packet.startedAt >= LIFE_US) this.#discard(packet, DropReason.FRAGMENT_TIMEOUT);
    }
  }

  /** Index of the packet that the fragment is of, or -1. */
  #find(fragment: Fragment, sourceHash: number): number {
    for (let i = 0; i < this.#count; i++) {
      const packet = this.#packets[i]!;
      if (
        packet.identification === fragment.identification &&
        packet.sourceHash === sourceHash &&
        packet.family === fragment.family &&
        // RFC 8200 §4.5: only the first fragment's next header counts.
        (packet.family === 6 || packet.protocol === fragment.protocol) &&
        this.#hasSameAddresses(packet, fragment)
      ) {
        return i;
      }
    }
    return -1;
  }

  #hasSameAddresses(packet: PartialPacket, fragment: Fragment): boolean {
    const isIpv4 = packet.family === 4;
    const first = isIpv4 ? Ipv4Field.SOURCE : Ipv6Field.SOURCE;
    const end = isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    for (let i = first; i < end; i += 4) {
      const word = this.#view.getInt32(packet.headerAt + i);
      if (word !== this.#view.getInt32(fragment.headerAt + i)) return false;
    }
    return true;
  }

  #hashSource({ family, headerAt }: Fragment): number {
    const at = headerAt + (family === 4 ? Ipv4Field.SOURCE : Ipv6Field.SOURCE);
    this.#hash.start();
    this.#hash.word(family);
    this.#hash.word(this.#view.getInt32(at));
    if (family === 6) this.#hash.word(this.#view.getInt32(at + 4));
    return this.#hash.finish();
  }

  /** A place for a packet of which a first fragment came; an older one may have to give way. */
  #begin(fragment: Fragment, sourceHash: number, now: Instant): PartialPacket {
    let ofSource = 0;
    let oldest: PartialPacket | undefined;
    let oldestOfSource: PartialPacket | undefined;
    for (let i = 0; i < this.#count; i++) {
      const packet = this.#packets[i]!;
      if (oldest === undefined || packet.startedAt < oldest.startedAt) oldest = packet;
      if (packet.sourceHash !== sourceHash) continue;
      ofSource += 1;
      if (oldestOfSource === undefined || packet.startedAt < oldestOfSource.startedAt) {
        oldestOfSource = packet;
      }
    }
    if (oldestOfSource !== undefined && ofSource >= PACKETS_PER_SOURCE) {
      this.#discard(oldestOfSource, DropReason.FRAGMENT_LIMIT);
    } else if (oldest !== undefined && this.#count === PACKETS) {
      this.#discard(oldest, DropReason.FRAGMENT_LIMIT);
    }
    const packet = this.#packets[this.#count++]!;
    packet.startedAt = now;
    packet.family = fragment.family;
    packet.identification = fragment.identification;
    packet.protocol = fragment.protocol;
    packet.sourceHash = sourceHash;
    this.#copyHeader(packet, fragment);
    return packet;
  }

  /** Chunks for the fragment, if need be from older packets. @returns false when too few */
  #makeRoom(packet: PartialPacket, fragment: Fragment): boolean {
    const needed = packet.chunksMissing(fragment);
    while (this.#chunksOf(packet.sourceHash) + needed > CHUNKS_PER_SOURCE) {
      if (!this.#discardOlder(packet, true)) return false;
    }
    while (this.#chunks.free < needed) {
      if (!this.#discardOlder(packet, false)) return false;
    }
    return true;
  }

  #chunksOf(sourceHash: number): number {
    let held = 0;
    for (let i = 0; i < this.#count; i++) {
      const packet = this.#packets[i]!;
      if (packet.sourceHash === sourceHash) held += packet.chunksHeld;
    }
    return held;
  }

  /** Ends the oldest packet, or the oldest of the same source. @returns false when it is `than` */
  #discardOlder(than: PartialPacket, isOfSource: boolean): boolean {
    let oldest = than;
    for (let i = 0; i < this.#count; i++) {
      const packet = this.#packets[i]!;
      if (isOfSource && packet.sourceHash !== than.sourceHash) continue;
      if (packet.startedAt < oldest.startedAt) oldest = packet;
    }
    if (oldest === than) return false;
    this.#discard(oldest, DropReason.FRAGMENT_LIMIT);
    return true;
  }

  #keep(packet: PartialPacket, fragment: Fragment): void {
    packet.keep(this.#bytes, fragment);
    packet.ecnSeen |= 1 << fragment.ecn;
    if (!fragment.hasMore) packet.total = fragment.offset + fragment.payloadLength;
    if (fragment.offset !== 0) return;
    packet.protocol = fragment.protocol;
    this.#copyHeader(packet, fragment);
  }

  #copyHeader(packet: PartialPacket, { family, headerAt }: Fragment): void {
    const length = family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    this.#bytes.copyWithin(packet.headerAt, headerAt, headerAt + length);
  }

  /** Puts the whole packet together. Options and extension headers, which are checked, stay out. */
  #finish(packet: PartialPacket): DropReason {
    const { ecnSeen, total } = packet;
    const isMarked = (ecnSeen & (1 << Ecn.CE)) !== 0;
    // RFC 3168 §5.3: CE may not appear on a packet whose sender does not know it.
    if (isMarked && (ecnSeen & (1 << Ecn.NOT_ECT)) !== 0) {
      return this.#refuse(packet, DropReason.BAD_FRAGMENT);
    }
    const view = this.#view;
    const at = this.packetAt;
    const headerLength = packet.family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
    this.#bytes.copyWithin(at, packet.headerAt, packet.headerAt + headerLength);
    packet.copyTo(this.#bytes, at + headerLength);
    if (packet.family === 4) {
      view.setUint8(at + Ipv4Field.VERSION_IHL, (4 << 4) | (IPV4_HEADER_BYTES >>> 2));
      view.setUint16(at + Ipv4Field.TOTAL_LENGTH, IPV4_HEADER_BYTES + total);
      view.setUint16(at + Ipv4Field.FLAGS_FRAGMENT, 0);
      if (isMarked) {
        const trafficClass = view.getUint8(at + Ipv4Field.TRAFFIC_CLASS);
        view.setUint8(at + Ipv4Field.TRAFFIC_CLASS, trafficClass | Ecn.CE);
      }
      refreshHeaderChecksum(view, at);
    } else {
      view.setUint16(at + Ipv6Field.PAYLOAD_LENGTH, total);
      view.setUint8(at + Ipv6Field.NEXT_HEADER, packet.protocol);
      if (isMarked) {
        const word = view.getInt32(at + Ipv6Field.VERSION_CLASS_LABEL);
        view.setInt32(at + Ipv6Field.VERSION_CLASS_LABEL, word | (Ecn.CE << 20));
      }
    }
    this.packetEnd = at + headerLength + total;
    this.isWhole = true;
    this.#counters.add(Counter.PACKETS_REASSEMBLED);
    this.#counters.add(Counter.IN_REASSEMBLED, packet.fragments);
    this.#counters.add(Counter.IN_FRAGMENTS_NOW, -packet.fragments);
    this.#release(packet);
    return DropReason.NONE;
  }

  /** Ends a packet because of the fragment that came now, which the caller counts. */
  #refuse(packet: PartialPacket, reason: DropReason): DropReason {
    this.#discard(packet, reason);
    return reason;
  }

  /** Ends a packet; each fragment that was kept is a packet that was dropped. */
  #discard(packet: PartialPacket, reason: DropReason): void {
    this.#counters.drop(reason, packet.fragments);
    this.#counters.add(Counter.IN_FRAGMENTS_NOW, -packet.fragments);
    this.#release(packet);
  }

  #release(packet: PartialPacket): void {
    packet.clear();
    const index = this.#packets.indexOf(packet);
    this.#count -= 1;
    this.#packets[index] = this.#packets[this.#count]!;
    this.#packets[this.#count] = packet;
  }
}
