/** The UDP header, RFC 768. */
import { DropReason } from '../drop-reason.ts';
import { fold, pseudoHeaderSum, sum } from './checksum.ts';
import { IPV4_ADDRESS_BYTES } from './ipv4.ts';
import { Protocol } from './protocol.ts';

/** Offsets in bytes. */
export const UdpField = { SRC_PORT: 0, DST_PORT: 2, LENGTH: 4, CHECKSUM: 6 } as const;

export const UDP_HEADER_BYTES = 8;

export const sourcePort = (view: DataView, at: number): number =>
  view.getUint16(at + UdpField.SRC_PORT);

export const destinationPort = (view: DataView, at: number): number =>
  view.getUint16(at + UdpField.DST_PORT);

/** Length of the datagram in bytes, header included. */
export const datagramLength = (view: DataView, at: number): number =>
  view.getUint16(at + UdpField.LENGTH);

export const checksumField = (view: DataView, at: number): number =>
  view.getUint16(at + UdpField.CHECKSUM);

/** The door check of the datagram that begins at `at`, all but its checksum. */
export function checkUdp(view: DataView, at: number, end: number): DropReason {
  if (end - at < UDP_HEADER_BYTES) return DropReason.BAD_UDP_HEADER;
  const length = datagramLength(view, at);
  if (length < UDP_HEADER_BYTES || length > end - at) return DropReason.BAD_UDP_HEADER;
  return DropReason.NONE;
}

/**
 * Whether the checksum is right. Zero means "not computed": right over IPv4 (RFC 768), wrong over
 * IPv6 (RFC 8200 §8.1).
 */
export function udpChecksumValid(
  view: DataView,
  ipSourceAt: number,
  ipDestinationAt: number,
  addressLength: number,
  udpAt: number,
): boolean {
  if (checksumField(view, udpAt) === 0) return addressLength === IPV4_ADDRESS_BYTES;
  const length = datagramLength(view, udpAt);
  const pseudo = pseudoHeaderSum(
    view,
    ipSourceAt,
    ipDestinationAt,
    addressLength,
    Protocol.UDP,
    length,
  );
  return fold(sum(view, udpAt, length, pseudo)) === 0xffff;
}

/** Writes a header with checksum zero. `length` counts the header. */
export function emitUdpHeader(
  view: DataView,
  at: number,
  source: number,
  destination: number,
  length: number,
): void {
  view.setUint16(at + UdpField.SRC_PORT, source);
  view.setUint16(at + UdpField.DST_PORT, destination);
  view.setUint16(at + UdpField.LENGTH, length);
  view.setUint16(at + UdpField.CHECKSUM, 0);
}

/** Computes the full checksum of the datagram at `udpAt` and writes it; never as zero. */
export function emitUdpChecksum(
  view: DataView,
  ipSourceAt: number,
  ipDestinationAt: number,
  addressLength: number,
  udpAt: number,
): void {
  const length = datagramLength(view, udpAt);
  view.setUint16(udpAt + UdpField.CHECKSUM, 0);
  const pseudo = pseudoHeaderSum(
    view,
    ipSourceAt,
    ipDestinationAt,
    addressLength,
    Protocol.UDP,
    length,
  );
  const value = ~fold(sum(view, udpAt, length, pseudo)) & 0xffff;
  view.setUint16(udpAt + UdpField.CHECKSUM, value === 0 ? 0xffff : value);
}
