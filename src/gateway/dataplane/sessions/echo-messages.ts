/** ICMP echo messages between clients and sockets: RFC 792, RFC 4443 §4. */

import { checksum } from '../../../stack/wire/checksum.ts';
import { ICMP_HEADER_BYTES, IcmpField } from '../../../stack/wire/icmp.ts';
import { Icmpv4Type } from '../../../stack/wire/icmpv4.ts';
import { Icmpv6Type } from '../../../stack/wire/icmpv6.ts';
import { headerLength } from '../../../stack/wire/ipv4.ts';
import { SessionKind, type SessionTable } from './session-table.ts';

/** Not an echo reply, or not ours. */
export const NO_REPLY = -1;

/**
 * Makes the echo request of a client, at `at`, what the session's socket takes. A ping socket
 * writes identifier and checksum itself, a raw socket of ICMPv6 the checksum.
 */
export function prepareRequest(
  view: DataView,
  at: number,
  length: number,
  row: number,
  table: SessionTable,
  family: 4 | 6,
): void {
  const type = family === 4 ? Icmpv4Type.ECHO_REQUEST : Icmpv6Type.ECHO_REQUEST;
  view.setUint8(at + IcmpField.TYPE, type);
  if (table.kind[row] !== SessionKind.RAW_ECHO) return;
  view.setUint16(at + IcmpField.IDENTIFIER, table.identifier[row]!);
  if (family === 6) return;
  view.setUint16(at + IcmpField.CHECKSUM, 0);
  view.setUint16(at + IcmpField.CHECKSUM, checksum(view, at, length));
}

/**
 * Where the echo reply begins in what a session's socket has received, [start, end). A raw socket
 * of ICMP hands over the IP header too.
 */
export function echoReplyAt(
  view: DataView,
  row: number,
  table: SessionTable,
  start: number,
  end: number,
  family: 4 | 6,
): number {
  const isRaw = table.kind[row] === SessionKind.RAW_ECHO;
  const at = isRaw && family === 4 ? start + headerLength(view, start) : start;
  if (end - at < ICMP_HEADER_BYTES) return NO_REPLY;
  const type = family === 4 ? Icmpv4Type.ECHO_REPLY : Icmpv6Type.ECHO_REPLY;
  if (view.getUint8(at + IcmpField.TYPE) !== type) return NO_REPLY;
  // The filter was put on after the socket was made.
  const isOther = isRaw && view.getUint16(at + IcmpField.IDENTIFIER) !== table.identifier[row];
  return isOther ? NO_REPLY : at;
}
