/** Takes ICMP and ICMPv6 errors apart, byte by byte, without the code under test. */
import { formatAddress } from '../../src/stack/wire/ip-address.ts';
import { concat, referenceChecksum } from './packet-builder.ts';

export interface IcmpError {
  readonly source: string;
  readonly destination: string;
  readonly type: number;
  readonly code: number;
  /** The TCP segment that the error is about. */
  readonly quoted: {
    readonly source: string;
    readonly destination: string;
    readonly sourcePort: number;
    readonly destinationPort: number;
    readonly seq: number;
    readonly flags: number;
  };
}

/** @throws Error when a length or a checksum is wrong, of the error or of the header it quotes */
export function parseIcmpError(packet: Uint8Array<ArrayBuffer>): IcmpError {
  const outer = parseIp(packet);
  const message = packet.subarray(outer.bodyAt);
  const view = new DataView(packet.buffer, packet.byteOffset + outer.bodyAt);
  const isIpv4 = outer.family === 4;
  if (outer.protocol !== (isIpv4 ? 1 : 58)) throw new Error(`protocol ${outer.protocol}`);
  if (referenceChecksum(isIpv4 ? message : concat([outer.pseudoHeader, message])) !== 0) {
    throw new Error('ICMP checksum is wrong');
  }
  const quotedPacket = message.slice(8);
  const inner = parseIp(quotedPacket);
  const tcp = new DataView(quotedPacket.buffer, inner.bodyAt);
  return {
    source: outer.source,
    destination: outer.destination,
    type: view.getUint8(0),
    code: view.getUint8(1),
    quoted: {
      source: inner.source,
      destination: inner.destination,
      sourcePort: tcp.getUint16(0),
      destinationPort: tcp.getUint16(2),
      seq: tcp.getUint32(4),
      flags: tcp.getUint8(13),
    },
  };
}

function parseIp(packet: Uint8Array) {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const family = packet[0]! >>> 4 === 4 ? 4 : 6;
  const bodyAt = family === 4 ? (packet[0]! & 15) * 4 : 40;
  const length = family === 4 ? view.getUint16(2) : view.getUint16(4) + 40;
  if (length !== packet.length) throw new Error(`IP length ${length}, not ${packet.length}`);
  if (family === 4 && referenceChecksum(packet.subarray(0, bodyAt)) !== 0) {
    throw new Error('IPv4 checksum is wrong');
  }
  const addressesAt = family === 4 ? 12 : 8;
  const size = family === 4 ? 4 : 16;
  const protocol = packet[family === 4 ? 9 : 6]!;
  const tail = new Uint8Array(8);
  new DataView(tail.buffer).setUint32(0, packet.length - bodyAt);
  tail[7] = protocol;
  return {
    family,
    bodyAt,
    protocol,
    source: formatAddress(view, addressesAt, size),
    destination: formatAddress(view, addressesAt + size, size),
    pseudoHeader: concat([packet.subarray(addressesAt, addressesAt + 2 * size), tail]),
  };
}
