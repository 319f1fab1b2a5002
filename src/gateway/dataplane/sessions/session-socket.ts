/** Sockets of sessions: connected to one upstream each, and telling all that the kernel knows. */
import {
  receiveCoalesced,
  receiveErrors,
  receiveTrafficClass,
  setBuffers,
  udpSocket,
} from '../../../ffi/datagram-sockets.ts';
import { filterReplies, pingSocket, rawEchoSocket } from '../../../ffi/echo-sockets.ts';
import { Errno } from '../../../ffi/errno.ts';
import { closeFd } from '../../../ffi/sockets.ts';
import { applyOptions, type DialOptions } from '../forward/dial.ts';
import { type EchoIdentifiers, NO_IDENTIFIER } from './echo-identifiers.ts';
import { SessionKind } from './session-table.ts';

/**
 * A datagram of 64 bytes counts as 768 in the kernel: four milliseconds of a million of them. Only
 * what waits takes memory, and net.ipv4.udp_mem bounds all sockets together.
 */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
const SEND_BUFFER_BYTES = 2 * 1024 * 1024;

/**
 * Opens a non-blocking UDP socket, ready to connect.
 *
 * @param isShort  for a question and its answer: no room for a stream
 * @returns        the descriptor, or a negative errno
 */
export function openUdp(family: 4 | 6, options: DialOptions, isShort: boolean): number {
  const fd = prepared(udpSocket(family), family, options);
  if (fd < 0 || isShort) return fd;
  setBuffers(fd, RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES);
  // Where the kernel knows no UDP_GRO, each datagram comes alone.
  receiveCoalesced(fd);
  return fd;
}

/** What `openEcho` has opened. */
export interface EchoSocket {
  kind: SessionKind;
  /** Of a raw socket. */
  identifier: number;
}

/**
 * Opens a socket for echo requests: a ping socket, or a raw one where that is forbidden.
 *
 * @param into  filled with what it is
 * @returns     the descriptor, or a negative errno: `-EPERM` where neither is allowed
 */
export function openEcho(
  family: 4 | 6,
  options: DialOptions,
  identifiers: EchoIdentifiers,
  into: EchoSocket,
): number {
  into.kind = SessionKind.PING;
  into.identifier = 0;
  const ping = pingSocket(family);
  if (ping >= 0 || ping !== -Errno.EACCES) return prepared(ping, family, options);
  const fd = prepared(rawEchoSocket(family), family, options);
  if (fd < 0) return fd;
  const identifier = identifiers.take();
  const filtered =
    identifier === NO_IDENTIFIER ? -Errno.EAGAIN : filterReplies(fd, family, identifier);
  if (filtered < 0) {
    if (identifier !== NO_IDENTIFIER) identifiers.release(identifier);
    closeFd(fd);
    return filtered;
  }
  into.kind = SessionKind.RAW_ECHO;
  into.identifier = identifier;
  return fd;
}

/** What all have in common; closes a socket that cannot have it. */
function prepared(fd: number, family: 4 | 6, options: DialOptions): number {
  if (fd < 0) return fd;
  let failure = receiveErrors(fd, family);
  if (failure >= 0) failure = receiveTrafficClass(fd, family);
  if (failure >= 0) failure = applyOptions(fd, family, options);
  if (failure >= 0) return fd;
  closeFd(fd);
  return failure;
}
