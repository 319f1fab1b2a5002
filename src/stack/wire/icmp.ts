/** What ICMP (RFC 792) and ICMPv6 (RFC 4443 §2.1) have in common: the header, echoes, quotes. */
import { copyBytes } from './bytes.ts';
import { adjust } from './checksum.ts';

/** Offsets in bytes. */
export const IcmpField = {
  TYPE: 0,
  CODE: 1,
  CHECKSUM: 2,
  /** Echo: identifier and sequence number. Errors: a parameter, zero in most. */
  IDENTIFIER: 4,
  SEQUENCE: 6,
  PARAMETER: 4,
  /** Echo: payload. Errors: the packet they are about. */
  BODY: 8,
} as const;

export const ICMP_HEADER_BYTES = 8;

export const icmpType = (view: DataView, at: number): number => view.getUint8(at + IcmpField.TYPE);

export const icmpCode = (view: DataView, at: number): number => view.getUint8(at + IcmpField.CODE);

/** Identifier of an echo request or reply. */
export const echoIdentifier = (view: DataView, at: number): number =>
  view.getUint16(at + IcmpField.IDENTIFIER);

/**
 * Writes the reply to the echo request of `length` bytes at `requestAt`. Its checksum is right when
 * the request's was, and the reply goes out with the addresses of the request, swapped.
 *
 * @param at    `requestAt` itself, or a place that does not overlap the request
 * @param type  ECHO_REPLY of the family
 */
export function emitEchoReply(
  view: DataView,
  at: number,
  requestAt: number,
  length: number,
  type: number,
): void {
  if (at !== requestAt) copyBytes(view, at, requestAt, length);
  const oldWord = view.getUint16(at + IcmpField.TYPE);
  view.setUint16(at + IcmpField.TYPE, type << 8);
  const newWord = view.getUint16(at + IcmpField.TYPE);
  const field = at + IcmpField.CHECKSUM;
  view.setUint16(field, adjust(view.getUint16(field), oldWord, newWord));
}

/** Writes an error with its quote, the checksum left 0. @returns bytes written */
export function emitQuote(
  view: DataView,
  at: number,
  type: number,
  code: number,
  parameter: number,
  quotedAt: number,
  quotedLength: number,
): number {
  view.setUint8(at + IcmpField.TYPE, type);
  view.setUint8(at + IcmpField.CODE, code);
  view.setUint16(at + IcmpField.CHECKSUM, 0);
  view.setUint32(at + IcmpField.PARAMETER, parameter);
  copyBytes(view, at + IcmpField.BODY, quotedAt, quotedLength);
  return ICMP_HEADER_BYTES + quotedLength;
}
