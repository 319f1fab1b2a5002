/** Upstream sockets: how one is opened, and what a failure means for the client's SYN. */
import { Errno } from '../../../ffi/errno.ts';
import {
  bindAddress,
  bindToDevice,
  closeFd,
  connectSocket,
  setMark,
  setNoDelay,
  setUrgentInline,
  tcpSocket,
} from '../../../ffi/sockets.ts';
import { CloseReason } from '../../../stack/close-reason.ts';
import { FlowField } from '../../../stack/flow-row.ts';
import { IcmpErrorKind } from '../../../stack/icmp-error-kind.ts';
import type { EndingReject } from '../../../stack/verdict.ts';
import { isMapped, writeAddress } from '../../../stack/wire/ip-address.ts';

export interface DialOptions {
  /** SO_MARK; 0 for none. */
  readonly mark: number;
  /** SO_BINDTODEVICE; empty for none. */
  readonly interface: string;
  /** Local address; empty for the kernel's choice. */
  readonly bind: string;
}

const bindView = new DataView(new ArrayBuffer(16));

/**
 * Opens a non-blocking socket, ready to connect.
 *
 * @returns the descriptor, or a negative errno
 */
export function openSocket(family: 4 | 6, options: DialOptions): number {
  const fd = tcpSocket(family);
  if (fd < 0) return fd;
  const failure = prepare(fd, family, options);
  if (failure >= 0) return fd;
  closeFd(fd);
  return failure;
}

function prepare(fd: number, family: 4 | 6, options: DialOptions): number {
  const noDelay = setNoDelay(fd);
  if (noDelay < 0) return noDelay;
  const inline = setUrgentInline(fd);
  return inline < 0 ? inline : applyOptions(fd, family, options);
}

/** Mark, interface and local address, of a socket of any kind. @returns 0 or a negative errno */
export function applyOptions(fd: number, family: 4 | 6, options: DialOptions): number {
  if (options.mark !== 0) {
    const marked = setMark(fd, options.mark);
    if (marked < 0) return marked;
  }
  if (options.interface !== '') {
    const bound = bindToDevice(fd, options.interface);
    if (bound < 0) return bound;
  }
  if (options.bind === '') return 0;
  if (writeAddress(options.bind, bindView, 0) !== family) return -Errno.EAFNOSUPPORT;
  return bindAddress(fd, bindView, 0, family, 0);
}

/** Starts to connect. @returns 0 when under way or done, or a negative errno */
export function startConnect(
  fd: number,
  view: DataView,
  addressAt: number,
  family: 4 | 6,
  port: number,
): number {
  const result = connectSocket(fd, view, addressAt, family, port);
  return result === -Errno.EINPROGRESS ? 0 : result;
}

/** What this host may have used up: descriptors, memory, or ports to send from. */
const SHORTAGES: readonly number[] = [
  Errno.EMFILE,
  Errno.ENFILE,
  Errno.ENOBUFS,
  Errno.ENOMEM,
  Errno.EAGAIN,
];

/** A failure that says nothing about the upstream, and may be over soon. @param errno  positive */
export const isShortage = (errno: number): boolean => SHORTAGES.includes(errno);

/** What a failed dial means: how the client is told, and what the log says. */
export interface DialFailure {
  readonly reason: CloseReason;
  readonly how: EndingReject;
  readonly code: IcmpErrorKind;
}

const REFUSED: DialFailure = {
  reason: CloseReason.DIAL_REFUSED,
  how: 'rst',
  code: IcmpErrorKind.PORT,
};
const unreachable = (code: IcmpErrorKind): DialFailure => ({
  reason: CloseReason.DIAL_UNREACHABLE,
  how: 'icmp',
  code,
});
const HOST = unreachable(IcmpErrorKind.HOST);
const NETWORK = unreachable(IcmpErrorKind.NETWORK);
const PROHIBITED = unreachable(IcmpErrorKind.PROHIBITED);
const FAILED: DialFailure = {
  reason: CloseReason.DIAL_FAILED,
  how: 'rst',
  code: IcmpErrorKind.HOST,
};

export const DIAL_LOOP: DialFailure = {
  reason: CloseReason.DIAL_LOOP,
  how: 'rst',
  code: IcmpErrorKind.HOST,
};
export const DIAL_TIMEOUT: DialFailure = {
  reason: CloseReason.DIAL_TIMEOUT,
  how: 'icmp',
  code: IcmpErrorKind.HOST,
};

/** @param errno  positive */
export function dialFailure(errno: number): DialFailure {
  switch (errno) {
    case Errno.ECONNREFUSED:
    case Errno.ECONNRESET:
      return REFUSED;
    case Errno.ENETUNREACH:
    case Errno.ENETDOWN:
      return NETWORK;
    case Errno.EHOSTUNREACH:
    case Errno.EHOSTDOWN:
      return HOST;
    case Errno.ETIMEDOUT:
      return DIAL_TIMEOUT;
    case Errno.EACCES:
    case Errno.EPERM:
      return PROHIBITED;
    default:
      return FAILED;
  }
}

/**
 * Turns `::ffff:a.b.c.d` into the IPv4 address that the kernel would dial: the loop guard asks for
 * the route of what is written in the row.
 */
export function unmapUpstream(view: DataView, at: number): void {
  const addressAt = at + FlowField.UPSTREAM;
  if (view.getUint8(at + FlowField.UPSTREAM_FAMILY) !== 6 || !isMapped(view, addressAt, 16)) return;
  view.setUint8(at + FlowField.UPSTREAM_FAMILY, 4);
  view.setUint32(addressAt, view.getUint32(addressAt + 12));
  for (let i = 4; i < 16; i += 4) view.setUint32(addressAt + i, 0);
}
