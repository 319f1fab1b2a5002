/**
 * Whole packets for tests. Written without the emitters of src/stack/wire, byte by byte, so that a
 * mistake in those cannot hide behind itself; the checksum is the plain loop of RFC 1071 §4.1.
 */
import { parseAddress } from '../../src/stack/wire/ip-address.ts';

/** Fields that IPv4 and IPv6 packets share; addresses decide which one it is. */
export interface IpFields {
  source?: string;
  destination?: string;
  /** TTL or hop limit. */
  ttl?: number;
  trafficClass?: number;
  /** IPv4 only. */
  identification?: number;
  /** IPv4 only: flags and fragment offset, one word; DF by default. */
  fragmentWord?: number;
  /** IPv4 options or IPv6 extension headers; for IPv6 with `extensionHeader` their first type. */
  extra?: Uint8Array;
  extensionHeader?: number;
}

export interface TcpFields extends IpFields {
  sourcePort?: number;
  destinationPort?: number;
  seq?: number;
  ack?: number;
  /** Bits of the flags byte. */
  flags?: number;
  window?: number;
  /** A multiple of 4 bytes. */
  options?: Uint8Array;
  payload?: Uint8Array;
}

export interface UdpFields extends IpFields {
  sourcePort?: number;
  destinationPort?: number;
  payload?: Uint8Array;
}

export interface IcmpFields extends IpFields {
  type: number;
  code?: number;
  /** The 32 bits behind the checksum. */
  rest?: number;
  payload?: Uint8Array;
}

const EMPTY = new Uint8Array(0);

/** A TCP packet with right checksums. */
export function tcpPacket(fields: TcpFields = {}): Uint8Array<ArrayBuffer> {
  const { options = EMPTY, payload = EMPTY } = fields;
  const segment = concat([new Uint8Array(20), options, payload]);
  const view = new DataView(segment.buffer);
  view.setUint16(0, fields.sourcePort ?? 40_000);
  view.setUint16(2, fields.destinationPort ?? 80);
  view.setUint32(4, fields.seq ?? 1);
  view.setUint32(8, fields.ack ?? 0);
  view.setUint8(12, ((20 + options.length) / 4) << 4);
  view.setUint8(13, fields.flags ?? 0x10);
  view.setUint16(14, fields.window ?? 65_535);
  return ipPacket(fields, 6, segment, 16);
}

/** A UDP packet with right checksums. */
export function udpPacket(fields: UdpFields = {}): Uint8Array<ArrayBuffer> {
  const datagram = concat([new Uint8Array(8), fields.payload ?? EMPTY]);
  const view = new DataView(datagram.buffer);
  view.setUint16(0, fields.sourcePort ?? 40_000);
  view.setUint16(2, fields.destinationPort ?? 53);
  view.setUint16(4, datagram.length);
  return ipPacket(fields, 17, datagram, 6);
}

/** An ICMP or ICMPv6 packet with right checksums. */
export function icmpPacket(fields: IcmpFields): Uint8Array<ArrayBuffer> {
  const message = concat([new Uint8Array(8), fields.payload ?? EMPTY]);
  const view = new DataView(message.buffer);
  view.setUint8(0, fields.type);
  view.setUint8(1, fields.code ?? 0);
  view.setUint32(4, fields.rest ?? 0);
  const isIpv6 = (fields.source ?? '').includes(':');
  return ipPacket(fields, isIpv6 ? 58 : 1, message, 2);
}

/**
 * An IP packet around `transport`.
 *
 * @param checksumAt  of the transport's checksum field, which is filled in; -1 for none
 */
export function ipPacket(
  fields: IpFields,
  protocol: number,
  transport: Uint8Array,
  checksumAt: number,
): Uint8Array<ArrayBuffer> {
  const source = addressBytes(fields.source ?? '10.0.0.1');
  const destination = addressBytes(fields.destination ?? '10.0.0.2');
  if (source.length !== destination.length) throw new Error('addresses of two families');
  const body = transport.slice();
  if (checksumAt >= 0) {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, body.length);
    const pseudo = concat([source, destination, length, Uint8Array.of(0, 0, 0, protocol)]);
    // ICMP for IPv4 is the one without a pseudo header.
    const value = referenceChecksum(protocol === 1 ? body : concat([pseudo, body]));
    const sent = protocol === 17 && value === 0 ? 0xffff : value;
    new DataView(body.buffer).setUint16(checksumAt, sent);
  }
  const header =
    source.length === 4
      ? ipv4Header(fields, protocol, body.length, source, destination)
      : ipv6Header(fields, protocol, body.length, source, destination);
  return concat([header, body]);
}

/** RFC 1071 §4.1: 16 bits at a time, carries folded at the end. */
export function referenceChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
    sum = (sum & 0xffff) + (sum >>> 16);
  }
  return ~sum & 0xffff;
}

/** Bytes of a hex dump; white space does not matter. */
export function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.replaceAll(/\s/g, '').match(/../g) ?? [], (pair) =>
    Number.parseInt(pair, 16),
  );
}

/** `length` bytes of a pattern in which every shift and swap shows. */
export function pattern(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function addressBytes(text: string): Uint8Array {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(`${text} is no address`);
  return bytes;
}

function ipv4Header(
  fields: IpFields,
  protocol: number,
  bodyLength: number,
  source: Uint8Array,
  destination: Uint8Array,
): Uint8Array {
  const header = concat([new Uint8Array(12), source, destination, fields.extra ?? EMPTY]);
  const view = new DataView(header.buffer);
  view.setUint8(0, 0x40 | (header.length / 4));
  view.setUint8(1, fields.trafficClass ?? 0);
  view.setUint16(2, header.length + bodyLength);
  view.setUint16(4, fields.identification ?? 0);
  view.setUint16(6, fields.fragmentWord ?? 0x4000);
  view.setUint8(8, fields.ttl ?? 64);
  view.setUint8(9, protocol);
  view.setUint16(10, referenceChecksum(header));
  return header;
}

function ipv6Header(
  fields: IpFields,
  protocol: number,
  bodyLength: number,
  source: Uint8Array,
  destination: Uint8Array,
): Uint8Array {
  const extra = fields.extra ?? EMPTY;
  const header = concat([new Uint8Array(8), source, destination, extra]);
  const view = new DataView(header.buffer);
  view.setUint32(0, (6 * 2 ** 28 + (fields.trafficClass ?? 0) * 2 ** 20) >>> 0);
  view.setUint16(4, extra.length + bodyLength);
  view.setUint8(6, fields.extensionHeader ?? protocol);
  view.setUint8(7, fields.ttl ?? 64);
  return header;
}
