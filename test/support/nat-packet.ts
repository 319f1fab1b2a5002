/**
 * Packets for tests of NAT: built without the code under test, laid into an arena between bytes
 * that nobody may touch, with the `Packet` that ingress would make of them.
 */
import type { Packet } from '../../src/stack/packet.ts';
import { parseAddress } from '../../src/stack/wire/ip-address.ts';
import {
  concat,
  type IpFields,
  ipPacket,
  pattern,
  referenceChecksum,
  viewOf,
} from './packet-builder.ts';

/** How much of the transport checksum is made. */
export type Offload = 'full' | 'partial' | 'none';

export interface NatFields extends IpFields {
  protocol: 'tcp' | 'udp' | 'udp-lite' | 'dccp' | 'sctp' | 'gre' | 'echo-request' | 'echo-reply';
  source: string;
  destination: string;
  sourcePort: number;
  destinationPort: number;
  /** TCP: a multiple of 4 bytes; bits of the flags byte. */
  options?: Uint8Array;
  flags?: number;
  payload: Uint8Array;
  offload: Offload;
}

/** Where the address of each test lies in front of the packet. */
const ADDRESS_AT = 16;
const PACKET_AT = 64;
const TRAILER_BYTES = 64;

const isIpv6 = (fields: NatFields): boolean => fields.source.includes(':');

/** Where the checksum of the transport is, counted from its header; -1 for none. */
function checksumOffset({ protocol }: NatFields): number {
  switch (protocol) {
    case 'tcp':
      return 16;
    case 'udp':
    case 'udp-lite':
    case 'dccp':
      return 6;
    case 'echo-request':
    case 'echo-reply':
      return 2;
    default:
      return -1;
  }
}

function protocolNumber(fields: NatFields): number {
  const numbers = { tcp: 6, udp: 17, 'udp-lite': 136, dccp: 33, sctp: 132, gre: 47 };
  if (fields.protocol === 'echo-request' || fields.protocol === 'echo-reply') {
    return isIpv6(fields) ? 58 : 1;
  }
  return numbers[fields.protocol];
}

/** The transport header and payload, without a checksum. */
function transport(fields: NatFields): Uint8Array {
  const { protocol, options = new Uint8Array(0), payload } = fields;
  if (protocol === 'gre') return concat([pattern(8, 3), payload]);
  const isEcho = protocol === 'echo-request' || protocol === 'echo-reply';
  const header = new Uint8Array(protocol === 'tcp' ? 20 : 12);
  const view = viewOf(header);
  if (isEcho) {
    const isRequest = protocol === 'echo-request';
    const types = isIpv6(fields) ? [128, 129] : [8, 0];
    view.setUint8(0, types[isRequest ? 0 : 1]!);
    view.setUint16(4, isRequest ? fields.sourcePort : fields.destinationPort);
    return concat([header.slice(0, 8), payload]);
  }
  view.setUint16(0, fields.sourcePort);
  view.setUint16(2, fields.destinationPort);
  switch (protocol) {
    case 'tcp':
      view.setUint32(4, 0xfeedbeef);
      view.setUint8(12, ((20 + options.length) / 4) << 4);
      view.setUint8(13, fields.flags ?? 0x18);
      return concat([header, options, payload]);
    case 'udp':
    case 'udp-lite':
      view.setUint16(4, 8 + payload.length);
      return concat([header.slice(0, 8), payload]);
    default:
      view.setUint32(8, 0xc0ffee00);
      return concat([header, payload]);
  }
}

/** A packet whose checksums are right, as far as its offload lets them be made. */
export function natPacket(fields: NatFields): Uint8Array<ArrayBuffer> {
  const body = transport(fields);
  const offset = checksumOffset(fields);
  const packet = ipPacket(fields, protocolNumber(fields), body, offset);
  if (offset === -1 || fields.offload === 'full') {
    // RFC 3828 §3.1: UDP-Lite has no zero either.
    if (fields.protocol === 'udp-lite') replaceZero(packet, packet.length - body.length + offset);
    return packet;
  }
  const isNone = fields.offload === 'none';
  const value = isNone ? 0 : ~referenceChecksum(pseudoHeader(fields, body.length)) & 0xffff;
  viewOf(packet).setUint16(packet.length - body.length + offset, value);
  return packet;
}

function replaceZero(packet: Uint8Array, at: number): void {
  const view = viewOf(packet);
  if (view.getUint16(at) === 0) view.setUint16(at, 0xffff);
}

function pseudoHeader(fields: NatFields, length: number): Uint8Array {
  const protocol = protocolNumber(fields);
  if (protocol === 1) return new Uint8Array(0);
  const tail = new Uint8Array(8);
  viewOf(tail).setUint32(0, length);
  tail[7] = protocol;
  return concat([addressOf(fields.source), addressOf(fields.destination), tail]);
}

export const addressOf = (text: string): Uint8Array => parseAddress(text)!;

/** A `Packet` that nothing was read into. */
export function newPacket(): Packet {
  return {
    frameAt: 0,
    ipAt: 0,
    end: 0,
    transportAt: 0,
    protocol: 0,
    addressLength: 4,
    sourceAt: 0,
    destinationAt: 0,
    hopLimit: 0,
    trafficClass: 0,
    sourcePort: 0,
    destinationPort: 0,
    hash: 0,
    isPartial: false,
    gsoSize: 0,
  };
}

/** What ingress makes of an ICMP error without IP options that lies at `at`. */
export function errorPacket(error: Uint8Array, at: number): Packet {
  const isIpv4 = error[0]! >>> 4 === 4;
  return {
    ...newPacket(),
    frameAt: at,
    ipAt: at,
    end: at + error.length,
    transportAt: at + (isIpv4 ? 20 : 40),
    protocol: isIpv4 ? 1 : 58,
    addressLength: isIpv4 ? 4 : 16,
    sourceAt: at + (isIpv4 ? 12 : 8),
    destinationAt: at + (isIpv4 ? 16 : 24),
    hopLimit: 64,
  };
}

/** A packet in its arena. */
export interface Laid {
  readonly arena: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  readonly packet: Packet;
  /** The packet as it is now. @throws Error when bytes around it have changed */
  bytes(): Uint8Array;
}

/** Lays `bytes`, which are those of `fields`, into an arena of their own. */
export function lay(fields: NatFields, bytes: Uint8Array): Laid {
  const arena = concat([pattern(PACKET_AT, 9), bytes, pattern(TRAILER_BYTES, 10)]);
  const view = viewOf(arena);
  const addressLength = isIpv6(fields) ? 16 : 4;
  const sourceAt = PACKET_AT + (addressLength === 4 ? 12 : 8);
  const end = PACKET_AT + bytes.length;
  const protocol = protocolNumber(fields);
  const hasPorts = protocol === 6 || protocol === 17 || protocol === 1 || protocol === 58;
  const packet: Packet = {
    frameAt: PACKET_AT,
    ipAt: PACKET_AT,
    end,
    transportAt: end - transport(fields).length,
    protocol,
    addressLength,
    sourceAt,
    destinationAt: sourceAt + addressLength,
    hopLimit: fields.ttl ?? 64,
    trafficClass: fields.trafficClass ?? 0,
    sourcePort: hasPorts && fields.protocol !== 'echo-reply' ? fields.sourcePort : 0,
    destinationPort: hasPorts && fields.protocol !== 'echo-request' ? fields.destinationPort : 0,
    hash: 0,
    isPartial: fields.offload === 'partial',
    gsoSize: fields.offload === 'partial' && fields.payload.length > 1448 ? 1448 : 0,
  };
  const around = [arena.slice(0, ADDRESS_AT), arena.slice(end)];
  return {
    arena,
    view,
    packet,
    bytes: () => {
      const now = [arena.slice(0, ADDRESS_AT), arena.slice(end)];
      if (!Bun.deepEquals(now, around)) throw new Error('bytes around the packet have changed');
      return arena.slice(PACKET_AT, end);
    },
  };
}

/** Writes an address to where `rewriteSource` may take it from. @returns its position */
export function putAddress(laid: Laid, text: string): number {
  laid.arena.set(addressOf(text), ADDRESS_AT);
  return ADDRESS_AT;
}
