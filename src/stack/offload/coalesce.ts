/**
 * Merges MTU-sized TCP segments, and UDP datagrams, that follow each other into superpackets, as
 * the kernel's GRO does, for a device that hands over no superpackets itself. The opposite of
 * `segment`.
 *
 * One run of one flow is held at a time; whatever does not continue it is handed out behind it, so
 * that packets never overtake each other. A packet that stays alone is handed out where it lies;
 * only a second one starts the copy. So what was pushed has to stay valid until `flush`. A sender's
 * burst comes as one run even where many flows are mixed: its kernel has cut it a moment before.
 *
 * A run is: same addresses, ports, traffic class, TTL; every payload as long as the first, a
 * shorter one is its last. Of TCP also: same acknowledgment, window, options (with them
 * timestamps); flags ACK or ACK|PSH, where PSH stands on the last; sequence numbers without a gap.
 * So ECE and CWR never are in a run, and its packets have one ECN codepoint.
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
import * as udp from '../wire/udp.ts';

/** Longest superpacket: what fits the IPv4 total length. */
const MAX_PACKET_BYTES = 65_535;
/** Datagrams that Linux takes in one call with UDP_SEGMENT: UDP_MAX_SEGMENTS before 6.2. */
const MAX_DATAGRAMS = 64;
/** In front of a superpacket, for whoever takes it. */
const HEADROOM_BYTES = 64;
const NO_RUN = -1;

/**
 * Takes a packet or superpacket.
 *
 * @param gsoSize      payload bytes of each merged packet; the checksums of all were right, and the
 *                     transport checksum holds the pseudo header's sum, as NEEDS_CSUM leaves it.
 *                     There are 64 bytes of room in front of it. 0: a packet as it was pushed,
 *                     nothing checked
 * @param transportAt  of a superpacket
 */
export type CoalescedSink = (at: number, end: number, gsoSize: number, transportAt: number) => void;

export class Coalescer {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #targetAt: number;
  readonly #emit: CoalescedSink;

  /** IP header of the run: of its only packet, or of the superpacket at `#targetAt`. */
  #at = NO_RUN;
  #end = 0;
  #transportAt = 0;
  #protocol: number = Protocol.TCP;
  #headerBytes = 0;
  #segmentBytes = 0;
  #count = 0;
  #nextSeq = asSeq(0);

  /** Bytes that an instance takes from its arena. */
  static readonly BYTES = HEADROOM_BYTES + MAX_PACKET_BYTES + 1;

  constructor(arena: Arena, emit: CoalescedSink) {
    this.#view = arena.view;
    this.#bytes = arena.bytes;
    this.#targetAt = arena.take(Coalescer.BYTES) + HEADROOM_BYTES;
    this.#emit = emit;
  }

  /** Takes the frame [at, end), any bytes; a superpacket from here is valid during its call. */
  push(at: number, end: number): void {
    const transportAt = this.#findTransport(at, end);
    if (transportAt === NO_RUN) {
      this.flush();
      this.#emit(at, end, 0, at);
      return;
    }
    const packetEnd = this.#packetEnd(at);
    const protocol = this.#protocolOf(at);
    const payload = packetEnd - transportAt - this.#headerLength(protocol, transportAt);
    if (!this.#continues(at, protocol, transportAt, packetEnd)) {
      this.flush();
      this.#begin(at, protocol, transportAt, packetEnd);
    } else {
      this.#append(transportAt, packetEnd, payload);
    }
    if (this.#isLast(transportAt, payload)) this.flush();
  }

  /** Hands out what is held; to be called at the end of a batch. */
  flush(): void {
    if (this.#at === NO_RUN) return;
    const at = this.#at;
    this.#at = NO_RUN;
    if (this.#count === 1) {
      this.#emit(at, this.#end, 0, at);
      return;
    }
    this.#finish(at);
    this.#emit(at, this.#end, this.#segmentBytes, this.#transportAt);
  }

  /** Packets of the run that is being handed out, or held. */
  get count(): number {
    return this.#count;
  }

  #begin(at: number, protocol: number, transportAt: number, end: number): void {
    const view = this.#view;
    this.#at = at;
    this.#end = end;
    this.#protocol = protocol;
    this.#transportAt = transportAt;
    this.#headerBytes = transportAt - at + this.#headerLength(protocol, transportAt);
    this.#segmentBytes = end - at - this.#headerBytes;
    this.#count = 1;
    if (protocol === Protocol.TCP) {
      this.#nextSeq = seqAdd(tcp.sequence(view, transportAt), this.#segmentBytes);
    }
  }

  /** Puts the payload of the packet behind the run. */
  #append(transportAt: number, end: number, payload: number): void {
    const view = this.#view;
    if (this.#count === 1) {
      this.#bytes.copyWithin(this.#targetAt, this.#at, this.#end);
      const moved = this.#targetAt - this.#at;
      this.#at += moved;
      this.#end += moved;
      this.#transportAt += moved;
    }
    this.#bytes.copyWithin(this.#end, end - payload, end);
    this.#end += payload;
    this.#count += 1;
    if (this.#protocol !== Protocol.TCP) return;
    this.#nextSeq = seqAdd(this.#nextSeq, payload);
    const flags = tcp.flags(view, this.#transportAt) | tcp.flags(view, transportAt);
    view.setUint8(this.#transportAt + tcp.TcpField.FLAGS, flags);
  }

  /** Nothing can follow in the run. */
  #isLast(transportAt: number, payload: number): boolean {
    if (payload < this.#segmentBytes) return true;
    if (this.#protocol === Protocol.UDP) return this.#count === MAX_DATAGRAMS;
    return (tcp.flags(this.#view, transportAt) & tcp.TcpFlag.PSH) !== 0;
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
    const isTcp = this.#protocol === Protocol.TCP;
    const length = this.#end - this.#transportAt;
    if (!isTcp) view.setUint16(this.#transportAt + udp.UdpField.LENGTH, length);
    const pseudo = pseudoHeaderSum(
      view,
      at + sourceField(view, at),
      at + destinationField(view, at),
      addressBytes(view, at),
      this.#protocol,
      length,
    );
    const checksumAt = isTcp ? tcp.TcpField.CHECKSUM : udp.UdpField.CHECKSUM;
    view.setUint16(this.#transportAt + checksumAt, fold(pseudo));
  }

  /** Position of the TCP or UDP header when the packet can be part of a run, or NO_RUN. */
  #findTransport(at: number, end: number): number {
    const view = this.#view;
    if (end <= at) return NO_RUN;
    let transportAt: number;
    if (ipv4.version(view, at) === 4) {
      if (ipv4.checkIpv4(view, at, end) !== DropReason.NONE) return NO_RUN;
      if (ipv4.headerLength(view, at) !== ipv4.IPV4_HEADER_BYTES) return NO_RUN;
      if (ipv4.isFragment(view, at)) return NO_RUN;
      transportAt = at + ipv4.IPV4_HEADER_BYTES;
    } else {
      if (ipv6.checkIpv6(view, at, end) !== DropReason.NONE) return NO_RUN;
      transportAt = at + ipv6.IPV6_HEADER_BYTES;
    }
    const protocol = this.#protocolOf(at);
    if (protocol === Protocol.UDP) return this.#findUdp(at, transportAt);
    if (protocol !== Protocol.TCP) return NO_RUN;
    const packetEnd = this.#packetEnd(at);
    if (tcp.checkTcp(view, transportAt, packetEnd) !== DropReason.NONE) return NO_RUN;
    if ((tcp.flags(view, transportAt) & ~tcp.TcpFlag.PSH) !== tcp.TcpFlag.ACK) return NO_RUN;
    return transportAt + tcp.headerLength(view, transportAt) < packetEnd ? transportAt : NO_RUN;
  }

  /** A datagram without a checksum is no part of a run: all of a superpacket have one. */
  #findUdp(at: number, udpAt: number): number {
    const view = this.#view;
    const packetEnd = this.#packetEnd(at);
    if (udp.checkUdp(view, udpAt, packetEnd) !== DropReason.NONE) return NO_RUN;
    const length = udp.datagramLength(view, udpAt);
    const isWhole = length === packetEnd - udpAt && length > udp.UDP_HEADER_BYTES;
    return isWhole && udp.checksumField(view, udpAt) !== 0 ? udpAt : NO_RUN;
  }

  #protocolOf(at: number): number {
    const view = this.#view;
    return ipv4.version(view, at) === 4 ? ipv4.protocol(view, at) : ipv6.nextHeader(view, at);
  }

  #headerLength(protocol: number, transportAt: number): number {
    if (protocol === Protocol.UDP) return udp.UDP_HEADER_BYTES;
    return tcp.headerLength(this.#view, transportAt);
  }

  /** End of a packet that has passed its IP check, padding left out. */
  #packetEnd(at: number): number {
    const isIpv4 = ipv4.version(this.#view, at) === 4;
    return isIpv4 ? ipv4.ipv4End(this.#view, at) : ipv6.ipv6End(this.#view, at);
  }

  #continues(at: number, protocol: number, transportAt: number, end: number): boolean {
    if (this.#at === NO_RUN || protocol !== this.#protocol) return false;
    const transportBytes = this.#headerLength(protocol, transportAt);
    const headerBytes = transportAt - at + transportBytes;
    if (headerBytes !== this.#headerBytes) return false;
    if (transportAt - at !== this.#transportAt - this.#at) return false;
    const payload = end - at - headerBytes;
    if (payload > this.#segmentBytes) return false;
    if (this.#end - this.#at + payload > MAX_PACKET_BYTES) return false;
    if (!this.#ipMatches(at)) return false;
    if (protocol === Protocol.TCP) {
      if (tcp.sequence(this.#view, transportAt) !== this.#nextSeq) return false;
      if (!this.#tcpMatches(transportAt, transportBytes)) return false;
    } else if (!this.#portsMatch(transportAt)) {
      return false;
    }
    // Last, because it reads the whole packet. The first of a run is checked with the second.
    if (!this.#isSummed(at, transportAt, end)) return false;
    return this.#count > 1 || this.#isSummed(this.#at, this.#transportAt, this.#end);
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
    const held = this.#transportAt;
    const { DATA_OFFSET, WINDOW, OPTIONS } = tcp.TcpField;
    return (
      this.#portsMatch(tcpAt) &&
      // With the reserved bits, among them AE of RFC 9768.
      view.getUint8(tcpAt + DATA_OFFSET) === view.getUint8(held + DATA_OFFSET) &&
      tcp.acknowledgment(view, tcpAt) === tcp.acknowledgment(view, held) &&
      view.getUint16(tcpAt + WINDOW) === view.getUint16(held + WINDOW) &&
      wordsEqual(view, tcpAt + OPTIONS, held + OPTIONS, headerBytes - tcp.TCP_HEADER_BYTES)
    );
  }

  /** Both stand in the first word of TCP and UDP. */
  #portsMatch(transportAt: number): boolean {
    const { SRC_PORT } = udp.UdpField;
    const held = this.#transportAt + SRC_PORT;
    return this.#view.getInt32(transportAt + SRC_PORT) === this.#view.getInt32(held);
  }

  /** The checksum of a packet of the run's protocol is right. */
  #isSummed(at: number, transportAt: number, end: number): boolean {
    const view = this.#view;
    const sourceAt = at + sourceField(view, at);
    const destinationAt = at + destinationField(view, at);
    const length = addressBytes(view, at);
    return this.#protocol === Protocol.TCP
      ? tcp.tcpChecksumValid(view, sourceAt, destinationAt, length, transportAt, end)
      : udp.udpChecksumValid(view, sourceAt, destinationAt, length, transportAt);
  }
}

const sourceField = (view: DataView, at: number): number =>
  ipv4.version(view, at) === 4 ? ipv4.Ipv4Field.SOURCE : ipv6.Ipv6Field.SOURCE;

const destinationField = (view: DataView, at: number): number =>
  ipv4.version(view, at) === 4 ? ipv4.Ipv4Field.DESTINATION : ipv6.Ipv6Field.DESTINATION;

const addressBytes = (view: DataView, at: number): number =>
  ipv4.version(view, at) === 4 ? ipv4.IPV4_ADDRESS_BYTES : ipv6.IPV6_ADDRESS_BYTES;
