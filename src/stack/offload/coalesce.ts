/**
 * Merges MTU-sized TCP segments that follow each other into superpackets, as the kernel's GRO
 * does, for a device that does not hand over superpackets itself. The opposite of `segment`.
 *
 * One run of one flow is held at a time; whatever does not continue it is handed out behind it, so
 * that packets never overtake each other. A packet that stays alone is handed out where it lies;
 * only a second one starts the copy. So what was pushed has to stay valid until `flush`.
 *
 * A run is: same addresses, ports, acknowledgment, window, options (with them timestamps), traffic
 * class, TTL; flags ACK or ACK|PSH; sequence numbers without a gap; every payload as long as the
 * first. A shorter payload or PSH is its last.
 */
import type { Arena } from '../arena.ts';
import { DropReason } from '../drop-reason.ts';
import { wordsEqual } from '../wire/bytes.ts';
import { fold, pseudoHeaderSum } from '../wire/checksum.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { Protocol } from '../wire/protocol.ts';
import { asSeq, seqAdd } from '../wire/seq.ts';
import * as tcp from '../wire/tcp.ts';

/** Longest superpacket: what fits the IPv4 total length. */
const MAX_PACKET_BYTES = 65_535;
const NO_RUN = -1;

/**
 * Takes a packet or superpacket.
 *
 * @param gsoSize  payload bytes of each merged segment; the checksums of all were right, and the
 *                 TCP checksum field holds the pseudo header's sum, as NEEDS_CSUM leaves it. 0: a
 *                 packet as it was pushed, nothing checked
 */
export type CoalescedSink = (at: number, end: number, gsoSize: number) => void;

export class Coalescer {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #targetAt: number;
  readonly #emit: CoalescedSink;

  /** IP header of the run: of its only packet, or of the superpacket at `#targetAt`. */
  #at = NO_RUN;
  #end = 0;
  #tcpAt = 0;
  #headerBytes = 0;
  #segmentBytes = 0;
  #count = 0;
  #nextSeq = asSeq(0);

  /** Bytes that an instance takes from its arena. */
  static readonly BYTES = MAX_PACKET_BYTES + 1;

  constructor(arena: Arena, emit: CoalescedSink) {
    this.#view = arena.view;
    this.#bytes = arena.bytes;
    this.#targetAt = arena.take(Coalescer.BYTES);
    this.#emit = emit;
  }

  /** Takes the frame [at, end), any bytes; a superpacket from here is valid during its call. */
  push(at: number, end: number): void {
    const tcpAt = this.#findTcp(at, end);
    if (tcpAt === NO_RUN) {
      this.flush();
      this.#emit(at, end, 0);
      return;
    }
    const packetEnd = this.#packetEnd(at);
    if (!this.#continues(at, tcpAt, packetEnd)) {
      this.flush();
      this.#begin(at, tcpAt, packetEnd);
    } else {
      this.#append(tcpAt, packetEnd);
    }
    const payload = packetEnd - tcpAt - tcp.headerLength(this.#view, tcpAt);
    const isPushed = (tcp.flags(this.#view, tcpAt) & tcp.TcpFlag.PSH) !== 0;
    if (isPushed || payload < this.#segmentBytes) this.flush();
  }

  /** Hands out what is held; to be called at the end of a batch. */
  flush(): void {
    if (this.#at === NO_RUN) return;
    const at = this.#at;
    this.#at = NO_RUN;
    if (this.#count === 1) {
      this.#emit(at, this.#end, 0);
      return;
    }
    this.#finish(at);
    this.#emit(at, this.#end, this.#segmentBytes);
  }

  #begin(at: number, tcpAt: number, end: number): void {
    const view = this.#view;
    this.#at = at;
    this.#end = end;
    this.#tcpAt = tcpAt;
    this.#headerBytes = tcpAt - at + tcp.headerLength(view, tcpAt);
    this.#segmentBytes = end - at - this.#headerBytes;
    this.#count = 1;
    this.#nextSeq = seqAdd(tcp.sequence(view, tcpAt), this.#segmentBytes);
  }

  /** Puts the payload of the segment behind the run. */
  #append(tcpAt: number, end: number): void {
    const view = this.#view;
    if (this.#count === 1) {
      this.#bytes.copyWithin(this.#targetAt, this.#at, this.#end);
      const moved = this.#targetAt - this.#at;
      this.#at += moved;
      this.#end += moved;
      this.#tcpAt += moved;
    }
    const payloadAt = tcpAt + tcp.headerLength(view, tcpAt);
    this.#bytes.copyWithin(this.#end, payloadAt, end);
    this.#end += end - payloadAt;
    this.#count += 1;
    this.#nextSeq = seqAdd(this.#nextSeq, end - payloadAt);
    const flags = tcp.flags(view, this.#tcpAt) | tcp.flags(view, tcpAt);
    view.setUint8(this.#tcpAt + tcp.TcpField.FLAGS, flags);
  }

  /** Sets the lengths and checksums of the superpacket. */
  #finish(at: number): void {
    const view = this.#view;
    if (ipv4.version(view, at) === 4) {
      view.setUint16(at + ipv4.Ipv4Field.TOTAL_LENGTH, this.#end - at);
      ipv4.refreshHeaderChecksum(view, at);
    } else {
      const payload = this.#end - at - ipv6.IPV6_HEADER_BYTES;
      view.setUint16(at + ipv6.Ipv6Field.PAYLOAD_LENGTH, payload);
    }
    const pseudo = pseudoHeaderSum(
      view,
      at + sourceField(view, at),
      at + destinationField(view, at),
      addressBytes(view, at),
      Protocol.TCP,
      this.#end - this.#tcpAt,
    );
    view.setUint16(this.#tcpAt + tcp.TcpField.CHECKSUM, fold(pseudo));
  }

  /** Position of the TCP header when the packet can be part of a run, or NO_RUN. */
  #findTcp(at: number, end: number): number {
    const view = this.#view;
    if (end <= at) return NO_RUN;
    let tcpAt: number;
    if (ipv4.version(view, at) === 4) {
      if (ipv4.checkIpv4(view, at, end) !== DropReason.NONE) return NO_RUN;
      if (ipv4.headerLength(view, at) !== ipv4.IPV4_HEADER_BYTES) return NO_RUN;
      if (ipv4.isFragment(view, at) || ipv4.protocol(view, at) !== Protocol.TCP) return NO_RUN;
      tcpAt = at + ipv4.IPV4_HEADER_BYTES;
    } else {
      if (ipv6.checkIpv6(view, at, end) !== DropReason.NONE) return NO_RUN;
      if (ipv6.nextHeader(view, at) !== Protocol.TCP) return NO_RUN;
      tcpAt = at + ipv6.IPV6_HEADER_BYTES;
    }
    const packetEnd = this.#packetEnd(at);
    if (tcp.checkTcp(view, tcpAt, packetEnd) !== DropReason.NONE) return NO_RUN;
    if ((tcp.flags(view, tcpAt) & ~tcp.TcpFlag.PSH) !== tcp.TcpFlag.ACK) return NO_RUN;
    return tcpAt + tcp.headerLength(view, tcpAt) < packetEnd ? tcpAt : NO_RUN;
  }

  /** End of a packet that has passed its IP check, padding left out. */
  #packetEnd(at: number): number {
    const isIpv4 = ipv4.version(this.#view, at) === 4;
    return isIpv4 ? ipv4.ipv4End(this.#view, at) : ipv6.ipv6End(this.#view, at);
  }

  #continues(at: number, tcpAt: number, end: number): boolean {
    if (this.#at === NO_RUN) return false;
    const view = this.#view;
    const headerBytes = tcpAt - at + tcp.headerLength(view, tcpAt);
    if (headerBytes !== this.#headerBytes || tcpAt - at !== this.#tcpAt - this.#at) return false;
    const payload = end - at - headerBytes;
    if (payload > this.#segmentBytes) return false;
    if (this.#end - this.#at + payload > MAX_PACKET_BYTES) return false;
    if (tcp.sequence(view, tcpAt) !== this.#nextSeq) return false;
    if (!this.#ipMatches(at) || !this.#tcpMatches(tcpAt, headerBytes - (tcpAt - at))) return false;
    // Last, because it reads the whole segment. The first of a run is checked with the second.
    if (!checksumValid(view, at, tcpAt, end)) return false;
    return this.#count > 1 || checksumValid(view, this.#at, this.#tcpAt, this.#end);
  }

  /**
   * All fields but lengths and checksums, which differ by nature. The IP headers are known to be
   * of one length, hence of one version.
   */
  #ipMatches(at: number): boolean {
    const view = this.#view;
    const held = this.#at;
    if (ipv4.version(view, at) === 6) {
      const { VERSION_CLASS_LABEL, HOP_LIMIT, SOURCE } = ipv6.Ipv6Field;
      return (
        view.getInt32(at + VERSION_CLASS_LABEL) === view.getInt32(held + VERSION_CLASS_LABEL) &&
        view.getUint8(at + HOP_LIMIT) === view.getUint8(held + HOP_LIMIT) &&
        wordsEqual(view, at + SOURCE, held + SOURCE, 2 * ipv6.IPV6_ADDRESS_BYTES)
      );
    }
    const { FLAGS_FRAGMENT, SOURCE } = ipv4.Ipv4Field;
    const step = (ipv4.identification(view, at) - ipv4.identification(view, held)) & 0xffff;
    // Identifications count up, or all are the same where RFC 6864 §4.1 gives them no meaning.
    const idFits = step === this.#count || (step === 0 && ipv4.isAtomic(view, at));
    return (
      idFits &&
      ipv4.trafficClass(view, at) === ipv4.trafficClass(view, held) &&
      ipv4.ttl(view, at) === ipv4.ttl(view, held) &&
      view.getUint16(at + FLAGS_FRAGMENT) === view.getUint16(held + FLAGS_FRAGMENT) &&
      wordsEqual(view, at + SOURCE, held + SOURCE, 2 * ipv4.IPV4_ADDRESS_BYTES)
    );
  }

  /** Ports, acknowledgment, window and options; the urgent pointer means nothing without URG. */
  #tcpMatches(tcpAt: number, headerBytes: number): boolean {
    const view = this.#view;
    const held = this.#tcpAt;
    const { SRC_PORT, WINDOW, OPTIONS } = tcp.TcpField;
    return (
      view.getInt32(tcpAt + SRC_PORT) === view.getInt32(held + SRC_PORT) &&
      tcp.acknowledgment(view, tcpAt) === tcp.acknowledgment(view, held) &&
      view.getUint16(tcpAt + WINDOW) === view.getUint16(held + WINDOW) &&
      wordsEqual(view, tcpAt + OPTIONS, held + OPTIONS, headerBytes - tcp.TCP_HEADER_BYTES)
    );
  }
}

const sourceField = (view: DataView, at: number): number =>
  ipv4.version(view, at) === 4 ? ipv4.Ipv4Field.SOURCE : ipv6.Ipv6Field.SOURCE;

const destinationField = (view: DataView, at: number): number =>
  ipv4.version(view, at) === 4 ? ipv4.Ipv4Field.DESTINATION : ipv6.Ipv6Field.DESTINATION;

const addressBytes = (view: DataView, at: number): number =>
  ipv4.version(view, at) === 4 ? ipv4.IPV4_ADDRESS_BYTES : ipv6.IPV6_ADDRESS_BYTES;

const checksumValid = (view: DataView, at: number, tcpAt: number, end: number): boolean =>
  tcp.tcpChecksumValid(
    view,
    at + sourceField(view, at),
    at + destinationField(view, at),
    addressBytes(view, at),
    tcpAt,
    end,
  );
