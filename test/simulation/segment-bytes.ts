/**
 * Packets of the reference TCP, read and written without a line of src/stack: a mistake there
 * cannot hide behind itself.
 */
import type { OutgoingFrame } from '../support/memory-device.ts';
import { concat, viewOf } from '../support/packet-builder.ts';

export const Flag = { FIN: 0x01, SYN: 0x02, RST: 0x04, PSH: 0x08, ACK: 0x10 } as const;

const OptionKind = {
  END: 0,
  NOP: 1,
  MSS: 2,
  WINDOW_SCALE: 3,
  SACK_PERMITTED: 4,
  SACK: 5,
  TIMESTAMPS: 8,
} as const;

const TCP_PROTOCOL = 6;
const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
const TCP_HEADER_BYTES = 20;

/** Left and right edge, absolute. */
export type SackBlock = readonly [number, number];

export interface SegmentFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  /** As it stands in the header, not scaled. */
  readonly window: number;
  /** 0 when absent. */
  readonly mss: number;
  /** -1 when absent. */
  readonly windowScale: number;
  readonly sackPermitted: boolean;
  readonly timestamps: { readonly value: number; readonly echo: number } | undefined;
  readonly sack: readonly SackBlock[];
  readonly payload: Uint8Array;
}

/** IP addresses of one family, as bytes. */
export interface Addresses {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

/** A whole packet with right checksums. */
export function encodeSegment(addresses: Addresses, segment: SegmentFields): Uint8Array {
  const options = encodeOptions(segment);
  const isIpv4 = addresses.source.length === 4;
  const tcpAt = isIpv4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
  const payloadAt = tcpAt + TCP_HEADER_BYTES + options.length;
  const packet = new Uint8Array(payloadAt + segment.payload.length);
  const view = viewOf(packet);
  if (isIpv4) {
    // Version and length, DF, a TTL.
    view.setUint16(0, 0x4500);
    view.setUint16(6, 0x4000);
    view.setUint16(8, (64 << 8) | TCP_PROTOCOL);
  } else {
    view.setUint32(0, 0x6000_0000);
    view.setUint16(6, (TCP_PROTOCOL << 8) | 64);
  }
  packet.set(addresses.source, isIpv4 ? 12 : 8);
  packet.set(addresses.destination, isIpv4 ? 16 : 24);
  view.setUint16(tcpAt, segment.sourcePort);
  view.setUint16(tcpAt + 2, segment.destinationPort);
  view.setUint32(tcpAt + 4, segment.seq);
  view.setUint32(tcpAt + 8, segment.ack);
  view.setUint8(tcpAt + 12, (payloadAt - tcpAt) << 2);
  view.setUint8(tcpAt + 13, segment.flags);
  view.setUint16(tcpAt + 14, segment.window);
  packet.set(options, tcpAt + TCP_HEADER_BYTES);
  packet.set(segment.payload, payloadAt);
  finish(packet, tcpAt);
  return packet;
}

/** Writes the lengths and checksums of a packet. */
function finish(packet: Uint8Array, tcpAt: number): void {
  const view = viewOf(packet);
  if (tcpAt === IPV4_HEADER_BYTES) {
    view.setUint16(2, packet.length);
    view.setUint16(10, 0);
    view.setUint16(10, inverted(wordSum(packet, 0, tcpAt)));
  } else {
    view.setUint16(4, packet.length - IPV6_HEADER_BYTES);
  }
  view.setUint16(tcpAt + 16, 0);
  view.setUint16(tcpAt + 16, segmentChecksum(packet, tcpAt));
}

function encodeOptions(segment: SegmentFields): Uint8Array {
  const bytes: number[] = [];
  const uint32 = (value: number) =>
    bytes.push(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
  if (segment.mss > 0) bytes.push(OptionKind.MSS, 4, segment.mss >>> 8, segment.mss & 255);
  if (segment.windowScale >= 0) {
    bytes.push(OptionKind.NOP, OptionKind.WINDOW_SCALE, 3, segment.windowScale);
  }
  if (segment.sackPermitted) {
    bytes.push(OptionKind.NOP, OptionKind.NOP, OptionKind.SACK_PERMITTED, 2);
  }
  if (segment.timestamps !== undefined) {
    bytes.push(OptionKind.NOP, OptionKind.NOP, OptionKind.TIMESTAMPS, 10);
    uint32(segment.timestamps.value);
    uint32(segment.timestamps.echo);
  }
  if (segment.sack.length > 0) {
    bytes.push(OptionKind.NOP, OptionKind.NOP, OptionKind.SACK, 2 + 8 * segment.sack.length);
    for (const [left, right] of segment.sack) {
      uint32(left);
      uint32(right);
    }
  }
  return Uint8Array.from(bytes);
}

/** What a packet says; undefined when it is no TCP, or when a checksum or a length is wrong. */
export function decodeSegment(packet: Uint8Array): SegmentFields | undefined {
  const tcpAt = findTcp(packet);
  if (tcpAt < 0) return undefined;
  const view = viewOf(packet);
  const payloadAt = tcpAt + (view.getUint8(tcpAt + 12) >>> 4) * 4;
  if (payloadAt < tcpAt + 20 || payloadAt > packet.length) return undefined;
  return {
    sourcePort: view.getUint16(tcpAt),
    destinationPort: view.getUint16(tcpAt + 2),
    seq: view.getUint32(tcpAt + 4),
    ack: view.getUint32(tcpAt + 8),
    flags: view.getUint8(tcpAt + 13),
    window: view.getUint16(tcpAt + 14),
    ...decodeOptions(view, tcpAt + 20, payloadAt),
    payload: packet.subarray(payloadAt),
  };
}

/** Position of the TCP header of a packet that is whole; -1 otherwise. */
function findTcp(packet: Uint8Array): number {
  if (packet.length < 40) return -1;
  const view = viewOf(packet);
  const version = packet[0]! >>> 4;
  if (version === 4) {
    const header = (packet[0]! & 15) * 4;
    const isWhole =
      header === IPV4_HEADER_BYTES &&
      view.getUint16(2) === packet.length &&
      inverted(wordSum(packet, 0, header)) === 0;
    if (!isWhole || packet[9] !== TCP_PROTOCOL) return -1;
    return segmentChecksum(packet, header) === 0 ? header : -1;
  }
  if (version !== 6 || packet.length < IPV6_HEADER_BYTES + 20) return -1;
  if (view.getUint16(4) !== packet.length - IPV6_HEADER_BYTES) return -1;
  if (packet[6] !== TCP_PROTOCOL) return -1;
  return segmentChecksum(packet, IPV6_HEADER_BYTES) === 0 ? IPV6_HEADER_BYTES : -1;
}

/** The checksum over pseudo header and segment: 0 when the segment's own is right. */
function segmentChecksum(packet: Uint8Array, tcpAt: number): number {
  const addressesAt = tcpAt === IPV4_HEADER_BYTES ? 12 : 8;
  const addressesEnd = tcpAt === IPV4_HEADER_BYTES ? 20 : 40;
  const addresses = wordSum(packet, addressesAt, addressesEnd);
  const segment = wordSum(packet, tcpAt, packet.length);
  return inverted(addresses + TCP_PROTOCOL + packet.length - tcpAt + segment);
}

/** Sum of the 16-bit words from an even position, an odd last byte padded with zero. */
function wordSum(bytes: Uint8Array, from: number, end: number): number {
  let sum = 0;
  let at = from;
  for (; at + 1 < end; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  return at < end ? sum + (bytes[at]! << 8) : sum;
}

/** A sum as a checksum field has it: carries folded in, all bits turned over. RFC 1071. */
function inverted(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return ~folded & 0xffff;
}

function decodeOptions(view: DataView, from: number, end: number) {
  const found = {
    mss: 0,
    windowScale: -1,
    sackPermitted: false,
    timestamps: undefined as SegmentFields['timestamps'],
    sack: [] as SackBlock[],
  };
  for (let at = from; at < end; ) {
    const kind = view.getUint8(at);
    if (kind === OptionKind.END) break;
    if (kind === OptionKind.NOP) {
      at += 1;
      continue;
    }
    const length = view.getUint8(at + 1);
    if (length < 2 || at + length > end) throw new Error(`option ${kind} of length ${length}`);
    if (kind === OptionKind.MSS) found.mss = view.getUint16(at + 2);
    if (kind === OptionKind.WINDOW_SCALE) found.windowScale = view.getUint8(at + 2);
    if (kind === OptionKind.SACK_PERMITTED) found.sackPermitted = true;
    if (kind === OptionKind.TIMESTAMPS) {
      found.timestamps = { value: view.getUint32(at + 2), echo: view.getUint32(at + 6) };
    }
    for (let block = at + 2; kind === OptionKind.SACK && block < at + length; block += 8) {
      found.sack.push([view.getUint32(block), view.getUint32(block + 4)]);
    }
    at += length;
  }
  return found;
}

/** The packets that a device without segmentation sends for a frame of the stack. */
export function cutFrame({ packet, gsoSize }: OutgoingFrame): Uint8Array[] {
  if (gsoSize === 0) return [packet];
  const tcpAt = packet[0]! >>> 4 === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
  const payloadAt = tcpAt + (packet[tcpAt + 12]! >>> 4) * 4;
  const seq = viewOf(packet).getUint32(tcpAt + 4);
  const pieces: Uint8Array[] = [];
  for (let at = payloadAt; at < packet.length; at += gsoSize) {
    const isLast = at + gsoSize >= packet.length;
    const piece = concat([packet.subarray(0, payloadAt), packet.subarray(at, at + gsoSize)]);
    const view = viewOf(piece);
    view.setUint32(tcpAt + 4, (seq + at - payloadAt) >>> 0);
    if (!isLast) piece[tcpAt + 13] = piece[tcpAt + 13]! & ~(Flag.FIN | Flag.PSH);
    finish(piece, tcpAt);
    pieces.push(piece);
  }
  return pieces;
}
