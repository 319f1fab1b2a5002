/**
 * The far end of a connection, moved by hand: a test says which segments it sends and which it
 * expects, in the text of segment-text.ts. It has no TCP of its own; it checks that every packet
 * of the stack is well-formed, and that every payload byte is the right one for its position.
 */
import { parseAddress } from '../../src/stack/wire/ip-address.ts';
import { checkStream, Stream, streamBytes } from './byte-stream.ts';
import type { ManualClock } from './manual-clock.ts';
import type { OutgoingFrame } from './memory-device.ts';
import { concat, referenceChecksum, tcpPacket } from './packet-builder.ts';
import {
  decodeOptions,
  encodeOptions,
  flagLetters,
  formatSegment,
  parseSegment,
  relativeOption,
  type SegmentText,
  sameOptions,
} from './segment-text.ts';

const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;
const TCP_PROTOCOL = 6;

/** What lies between a peer and the stack. */
export interface Link {
  readonly clock: ManualClock;
  /** Hands a packet to the stack. @param gsoSize  of a superpacket, else 0 */
  deliver(packet: Uint8Array, gsoSize: number): void;
  /** Frames that the stack has sent and nobody has read, oldest first. */
  readonly frames: OutgoingFrame[];
}

export interface PeerOptions {
  readonly address: string;
  readonly port: number;
  readonly serverAddress: string;
  readonly serverPort: number;
  /** Initial sequence number. */
  readonly iss: number;
  /** Every segment without options in its line carries a timestamp, and so must those that come. */
  readonly timestamps: boolean;
  /** It is the far end of a relay: it sends the server's stream, and reads the client's. */
  readonly isServer?: boolean;
}

/** A segment of the stack, with absolute numbers. */
export interface ReceivedSegment {
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly options: readonly string[];
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly gsoSize: number;
  /** Codepoint of its packet, RFC 3168 §5. */
  readonly ecn: number;
}

export class ScriptedPeer {
  readonly options: PeerOptions;
  readonly #link: Link;
  /** Initial sequence number of the stack, from its SYN-ACK. */
  #serverIss: number | undefined;
  /** Newest timestamp of the stack, to be echoed. */
  #tsRecent = 0;
  /** The last segment read. */
  #last: ReceivedSegment | undefined;

  constructor(link: Link, options: PeerOptions) {
    this.#link = link;
    this.options = options;
  }

  get serverIss(): number {
    if (this.#serverIss === undefined) throw new Error('no SYN-ACK was read yet');
    return this.#serverIss;
  }

  /** The last segment that was read. */
  get last(): ReceivedSegment {
    if (this.#last === undefined) throw new Error('no segment was read yet');
    return this.#last;
  }

  /** Newest timestamp that the stack sent. */
  get tsRecent(): number {
    return this.#tsRecent;
  }

  /**
   * Sends a segment; its payload is the client's stream at that position.
   *
   * @param gsoSize  makes it a superpacket
   * @param ecn      codepoint of its packet
   */
  sends(line: string, gsoSize = 0, ecn = 0): void {
    const segment = parseSegment(line);
    this.#link.deliver(this.packet(segment, ecn), gsoSize);
  }

  /** The packet of a segment. */
  packet(segment: SegmentText, ecn = 0): Uint8Array<ArrayBuffer> {
    const { options, iss } = { ...this.options, options: segment.options };
    const hasAck = (segment.flags & ACK) !== 0;
    if (hasAck && segment.ack === undefined) throw new Error('ACK flag without a number');
    // The byte after the SYN is the first of the stream; before it lies rubbish.
    const offset = segment.start - ((segment.flags & SYN) !== 0 ? 0 : 1);
    const { address, port, serverAddress, serverPort } = this.options;
    return tcpPacket({
      source: address,
      destination: serverAddress,
      trafficClass: ecn,
      sourcePort: port,
      destinationPort: serverPort,
      seq: (iss + segment.start) >>> 0,
      ack: hasAck ? ((this.#serverIss ?? 0) + segment.ack!) >>> 0 : 0,
      flags: segment.flags,
      window: segment.window ?? 65_535,
      options: encodeOptions(options ?? this.#usualOptions(segment.flags), this.#serverIss),
      payload: streamBytes(this.#sent, offset, segment.length),
    });
  }

  get #sent(): Stream {
    return this.options.isServer === true ? Stream.SERVER : Stream.CLIENT;
  }

  get #received(): Stream {
    return this.options.isServer === true ? Stream.CLIENT : Stream.SERVER;
  }

  #usualOptions(flags: number): string[] {
    if (!this.options.timestamps || (flags & SYN) !== 0) return [];
    return ['nop', 'nop', `TS val ${this.#link.clock.ms} ecr ${this.#tsRecent}`];
  }

  /** Reads the next segment for this peer and compares what the line says of it. */
  expects(line: string): ReceivedSegment {
    const expected = parseSegment(line);
    const segment = this.read();
    if (segment === undefined) throw new Error(`expected ${line}, but nothing came`);
    const actual = this.#describe(segment, expected);
    const isSame =
      segment.flags === expected.flags &&
      actual.start === expected.start &&
      actual.length === expected.length &&
      (expected.ack === undefined || actual.ack === expected.ack) &&
      (expected.window === undefined || actual.window === expected.window) &&
      (expected.options === undefined || sameOptions(expected.options, actual.options ?? []));
    if (!isSame) throw new Error(`expected  ${line}\nbut came  ${formatSegment(actual)}`);
    return segment;
  }

  /** @throws Error when a segment for this peer waits */
  expectsNothing(): void {
    const segment = this.read();
    if (segment !== undefined) {
      throw new Error(`expected nothing, but came  ${formatSegment(this.#describe(segment))}`);
    }
  }

  /** Takes the next segment for this peer; undefined when none waits. */
  read(): ReceivedSegment | undefined {
    const index = this.#link.frames.findIndex(({ packet }) => this.#isMine(packet));
    if (index < 0) return undefined;
    const [frame] = this.#link.frames.splice(index, 1);
    const segment = parsePacket(frame!);
    if ((segment.flags & SYN) !== 0) this.#serverIss = segment.seq;
    this.#last = segment;
    this.#checkTimestamps(segment);
    if (segment.payload.length > 0) {
      const offset = ((segment.seq - this.serverIss) | 0) - 1;
      checkStream(this.#received, offset, segment.payload, 0, segment.payload.length);
    }
    return segment;
  }

  /** Takes everything that waits. */
  readAll(): ReceivedSegment[] {
    const segments: ReceivedSegment[] = [];
    for (let next = this.read(); next !== undefined; next = this.read()) segments.push(next);
    return segments;
  }

  /** Sequence number of a segment of the stack, relative to its SYN. */
  relative(segment: ReceivedSegment): number {
    return this.#serverIss === undefined ? segment.seq : (segment.seq - this.#serverIss) | 0;
  }

  /** Acknowledgment number of a segment of the stack, relative to our SYN. */
  relativeAck(segment: ReceivedSegment): number {
    return (segment.ack - this.options.iss) | 0;
  }

  #describe(segment: ReceivedSegment, like?: SegmentText): SegmentText {
    return {
      flags: segment.flags,
      start: this.relative(segment),
      length: segment.payload.length,
      ack: (segment.flags & ACK) === 0 ? undefined : this.relativeAck(segment),
      window: like === undefined || like.window !== undefined ? segment.window : undefined,
      options: segment.options.map((word) => relativeOption(word, this.options.iss)),
    };
  }

  #isMine(packet: Uint8Array): boolean {
    const { address, port, serverAddress, serverPort } = this.options;
    const isIpv4 = packet[0]! >>> 4 === 4;
    if (isIpv4 === address.includes(':')) return false;
    const tcpAt = isIpv4 ? 20 : 40;
    if (packet[isIpv4 ? 9 : 6] !== TCP_PROTOCOL) return false;
    const addresses = packet.subarray(isIpv4 ? 12 : 8, tcpAt);
    const expected = concat([parseAddress(serverAddress)!, parseAddress(address)!]);
    const view = new DataView(packet.buffer, packet.byteOffset);
    return (
      Buffer.compare(addresses, expected) === 0 &&
      view.getUint16(tcpAt) === serverPort &&
      view.getUint16(tcpAt + 2) === port
    );
  }

  /**
   * RFC 7323 §3.2: on every segment once negotiated, but a reset may come without; and on a SYN
   * that asks.
   */
  #checkTimestamps(segment: ReceivedSegment): void {
    const word = segment.options.find((option) => option.startsWith('TS '));
    if (word !== undefined) this.#tsRecent = Number(word.split(' ')[2]);
    if ((segment.flags & RST) !== 0 || (segment.flags & (SYN | ACK)) === SYN) return;
    if ((word !== undefined) !== this.options.timestamps) {
      const has = word === undefined ? 'no timestamp' : 'a timestamp';
      throw new Error(`${has} on ${flagLetters(segment.flags)}`);
    }
  }
}

/** Takes a TCP packet apart. @throws Error when a length or a checksum is wrong */
export function parsePacket({ packet, gsoSize }: OutgoingFrame): ReceivedSegment {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const isIpv4 = packet[0]! >>> 4 === 4;
  const tcpAt = isIpv4 ? 20 : 40;
  const length = packet.length - tcpAt;
  if (isIpv4) {
    if (packet[0] !== 0x45) throw new Error('IPv4 header with options');
    if (view.getUint16(2) !== packet.length) throw new Error('IPv4 total length is wrong');
    if (referenceChecksum(packet.subarray(0, 20)) !== 0) throw new Error('IPv4 checksum is wrong');
  } else if (view.getUint16(4) !== length) {
    throw new Error('IPv6 payload length is wrong');
  }
  const pseudo = new Uint8Array(8);
  new DataView(pseudo.buffer).setUint32(0, length);
  pseudo[7] = TCP_PROTOCOL;
  const addresses = packet.subarray(isIpv4 ? 12 : 8, tcpAt);
  if (referenceChecksum(concat([addresses, pseudo, packet.subarray(tcpAt)])) !== 0) {
    throw new Error('TCP checksum is wrong');
  }
  const headerEnd = tcpAt + (view.getUint8(tcpAt + 12) >>> 4) * 4;
  return {
    flags: view.getUint8(tcpAt + 13),
    seq: view.getUint32(tcpAt + 4),
    ack: view.getUint32(tcpAt + 8),
    window: view.getUint16(tcpAt + 14),
    options: decodeOptions(view, tcpAt + 20, headerEnd),
    payload: packet.slice(headerEnd),
    gsoSize,
    ecn: (isIpv4 ? view.getUint8(1) : view.getUint16(0) >>> 4) & 0b11,
  };
}
