/** The TCP header, RFC 9293 §3.1. */
import { DropReason } from '../drop-reason.ts';
import { fold, pseudoHeaderSum, sum } from './checksum.ts';
import { Protocol } from './protocol.ts';
import type { Seq } from './seq.ts';

/** Offsets in bytes. */
export const TcpField = {
  SRC_PORT: 0,
  DST_PORT: 2,
  SEQ: 4,
  ACK: 8,
  DATA_OFFSET: 12,
  FLAGS: 13,
  WINDOW: 14,
  CHECKSUM: 16,
  URGENT: 18,
  OPTIONS: 20,
} as const;

/** Bits of the flags byte. ECE and CWR: RFC 3168 §6.1. */
export const TcpFlag = {
  FIN: 0x01,
  SYN: 0x02,
  RST: 0x04,
  PSH: 0x08,
  ACK: 0x10,
  URG: 0x20,
  ECE: 0x40,
  CWR: 0x80,
} as const;

/** Length of a header without options. */
export const TCP_HEADER_BYTES = 20;

export const sourcePort = (view: DataView, at: number): number =>
  view.getUint16(at + TcpField.SRC_PORT);

export const destinationPort = (view: DataView, at: number): number =>
  view.getUint16(at + TcpField.DST_PORT);

export const sequence = (view: DataView, at: number): Seq =>
  view.getUint32(at + TcpField.SEQ) as Seq;

export const acknowledgment = (view: DataView, at: number): Seq =>
  view.getUint32(at + TcpField.ACK) as Seq;

/** Header length in bytes, options included. */
export const headerLength = (view: DataView, at: number): number =>
  (view.getUint8(at + TcpField.DATA_OFFSET) >>> 4) * 4;

/** Bits of `TcpFlag`. */
export const flags = (view: DataView, at: number): number => view.getUint8(at + TcpField.FLAGS);

/** As it stands in the header: not scaled. */
export const window = (view: DataView, at: number): number => view.getUint16(at + TcpField.WINDOW);

export const checksumField = (view: DataView, at: number): number =>
  view.getUint16(at + TcpField.CHECKSUM);

export const urgentPointer = (view: DataView, at: number): number =>
  view.getUint16(at + TcpField.URGENT);

/**
 * The door check of the segment in [at, end), all but its checksum. Flags that no TCP sends are
 * refused: none at all, SYN together with RST, and SYN with FIN where it asks for a connection. A
 * SYN-ACK may bring the whole of a short answer, FIN included.
 */
export function checkTcp(view: DataView, at: number, end: number): DropReason {
  if (end - at < TCP_HEADER_BYTES) return DropReason.BAD_TCP_HEADER;
  const header = headerLength(view, at);
  if (header < TCP_HEADER_BYTES || header > end - at) return DropReason.BAD_TCP_HEADER;
  const bits = flags(view, at);
  if (bits === 0) return DropReason.BAD_TCP_FLAGS;
  if ((bits & TcpFlag.SYN) === 0) return DropReason.NONE;
  const isBad = (bits & TcpFlag.RST) !== 0 || (bits & (TcpFlag.FIN | TcpFlag.ACK)) === TcpFlag.FIN;
  return isBad ? DropReason.BAD_TCP_FLAGS : DropReason.NONE;
}

/**
 * Writes a header; checksum and urgent pointer are zero, options are the caller's.
 *
 * @param headerBytes  length with options, a multiple of 4
 * @param flagBits     bits of `TcpFlag`
 * @param windowField  already scaled
 */
export function emitTcpHeader(
  view: DataView,
  at: number,
  source: number,
  destination: number,
  seq: Seq,
  ack: Seq,
  headerBytes: number,
  flagBits: number,
  windowField: number,
): void {
  view.setUint16(at + TcpField.SRC_PORT, source);
  view.setUint16(at + TcpField.DST_PORT, destination);
  view.setUint32(at + TcpField.SEQ, seq);
  view.setUint32(at + TcpField.ACK, ack);
  view.setUint8(at + TcpField.DATA_OFFSET, (headerBytes >>> 2) << 4);
  view.setUint8(at + TcpField.FLAGS, flagBits);
  view.setUint16(at + TcpField.WINDOW, windowField);
  view.setUint16(at + TcpField.CHECKSUM, 0);
  view.setUint16(at + TcpField.URGENT, 0);
}

/**
 * Whether the checksum over pseudo header and segment is right. Not for a frame whose vnet header
 * says NEEDS_CSUM or DATA_VALID: the first has no checksum yet, the second was checked.
 */
export function tcpChecksumValid(
  view: DataView,
  ipSourceAt: number,
  ipDestinationAt: number,
  addressLength: number,
  tcpAt: number,
  end: number,
): boolean {
  const length = end - tcpAt;
  const pseudo = pseudoHeaderSum(
    view,
    ipSourceAt,
    ipDestinationAt,
    addressLength,
    Protocol.TCP,
    length,
  );
  return fold(sum(view, tcpAt, length, pseudo)) === 0xffff;
}

/** Computes the full checksum of the segment in [tcpAt, end) and writes it. */
export function emitTcpChecksum(
  view: DataView,
  ipSourceAt: number,
  ipDestinationAt: number,
  addressLength: number,
  tcpAt: number,
  end: number,
): void {
  const length = end - tcpAt;
  view.setUint16(tcpAt + TcpField.CHECKSUM, 0);
  const pseudo = pseudoHeaderSum(
    view,
    ipSourceAt,
    ipDestinationAt,
    addressLength,
    Protocol.TCP,
    length,
  );
  view.setUint16(tcpAt + TcpField.CHECKSUM, ~fold(sum(view, tcpAt, length, pseudo)) & 0xffff);
}

/**
 * Writes what NEEDS_CSUM expects in the checksum field: the pseudo header's sum, not inverted, to
 * which the kernel adds the segment (include/uapi/linux/virtio_net.h, csum_start).
 */
export function emitTcpPartialChecksum(
  view: DataView,
  ipSourceAt: number,
  ipDestinationAt: number,
  addressLength: number,
  tcpAt: number,
  end: number,
): void {
  const pseudo = pseudoHeaderSum(
    view,
    ipSourceAt,
    ipDestinationAt,
    addressLength,
    Protocol.TCP,
    end - tcpAt,
  );
  view.setUint16(tcpAt + TcpField.CHECKSUM, fold(pseudo));
}
