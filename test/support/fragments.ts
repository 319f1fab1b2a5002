/** Cuts a packet into fragments, written without the code under test. */
import { concat, referenceChecksum, viewOf } from './packet-builder.ts';

/** A piece of the payload: first byte, bytes, and whether M or MF is set. */
export interface Piece {
  readonly at: number;
  readonly length: number;
  readonly more: boolean;
}

/** Pieces of `size` bytes, a multiple of 8. */
export function piecesOf(packet: Uint8Array, size: number): Piece[] {
  const length = packet.length - headerOf(packet);
  const pieces: Piece[] = [];
  for (let at = 0; at < length; at += size) {
    pieces.push({ at, length: Math.min(size, length - at), more: at + size < length });
  }
  return pieces;
}

/** One fragment of `packet`; bytes behind its payload are zeros. */
export function fragmentOf(
  packet: Uint8Array,
  { at, length, more }: Piece,
  identification = 7,
  trafficClass = 0,
): Uint8Array<ArrayBuffer> {
  const headerLength = headerOf(packet);
  const body = new Uint8Array(length);
  body.set(packet.subarray(headerLength + at, headerLength + at + length));
  const header = packet.slice(0, headerLength);
  const view = viewOf(header);
  const offsetWord = more ? 1 : 0;
  if (headerLength === 20) {
    view.setUint8(1, trafficClass);
    view.setUint16(2, 20 + length);
    view.setUint16(4, identification);
    view.setUint16(6, (offsetWord << 13) | (at / 8));
    view.setUint16(10, 0);
    view.setUint16(10, referenceChecksum(header));
    return concat([header, body]);
  }
  const extension = new Uint8Array(8);
  extension[0] = header[6]!;
  header[6] = 44;
  view.setUint32(0, 0x6000_0000 + trafficClass * 2 ** 20);
  view.setUint16(4, 8 + length);
  viewOf(extension).setUint16(2, at | offsetWord);
  viewOf(extension).setUint32(4, identification);
  return concat([header, extension, body]);
}

export const fragmentsOf = (packet: Uint8Array, size: number, identification = 7) =>
  piecesOf(packet, size).map((piece) => fragmentOf(packet, piece, identification));

const headerOf = (packet: Uint8Array): number => (packet[0]! >>> 4 === 4 ? 20 : 40);
