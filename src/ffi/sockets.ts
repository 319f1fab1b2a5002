/**
 * Sockets of the host. Addresses are raw bytes in a `DataView`, 4 or 16 of them in network order.
 * What a flow calls returns a value or a negative errno, throws nothing and allocates nothing.
 */

import { Errno } from './errno.ts';
import { checked } from './errors.ts';
import { cString, lastErrno, libc } from './libc.ts';
import { allocateStruct, type StructMemory } from './memory.ts';
import {
  AddressFamily,
  HOST_ORDER,
  INTERFACE_NAME_BYTES,
  IoVec,
  Linger,
  MsgHdr,
  SockAddrIn,
  SockAddrIn6,
  setWord,
} from './structs.ts';

// include/linux/net.h, include/linux/socket.h, include/uapi/asm-generic/socket.h
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const MSG_PEEK = 0x2;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_MORE = 0x8000;
const SHUT_WR = 1;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_SNDBUF = 7;
const SO_OOBINLINE = 10;
const SO_LINGER = 13;
const SO_BINDTODEVICE = 25;
const SO_SNDBUFFORCE = 32;
const SO_MARK = 36;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
// include/uapi/linux/sockios.h, include/uapi/asm-generic/ioctls.h
const SIOCOUTQ = 0x5411;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

const INT_BYTES = 4;

/**
 * How much a control socket queues, in bytes; a message of a `seqpacket` is shorter. The kernel
 * doubles it for its own accounting.
 */
const SOCKET_PAIR_BUFFER_BYTES = 1024 * 1024;

export type IpVersion = 4 | 6;

/*
 * Scratch memory. Each function below fills it, makes one call of the kernel and reads it, with no
 * call of ours in between; a thread has its own copy of this module. So nobody sees it half used.
 */
const socketAddress = allocateStruct(SockAddrIn6.BYTES);
const option = allocateStruct(INT_BYTES);
const optionLength = allocateStruct(INT_BYTES);
const linger = allocateStruct(Linger.BYTES);
const deviceName = allocateStruct(INTERFACE_NAME_BYTES);
let encodedDeviceName = '';

/** A non-blocking TCP socket that no child inherits; or a negative errno such as `EMFILE`. */
export function tcpSocket(family: IpVersion): number {
  const domain = family === 4 ? AddressFamily.INET : AddressFamily.INET6;
  const fd = libc.socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd < 0 ? -lastErrno() : fd;
}

/** Sends small segments at once: the other side of the splice already decided when to write. */
export const setNoDelay = (fd: number): number => setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);

/** Urgent data is read in line, in its place: RFC 6093 §6. */
export const setUrgentInline = (fd: number): number => setOption(fd, SOL_SOCKET, SO_OOBINLINE, 1);

/** Sets the firewall mark of what the socket sends; `-EPERM` without CAP_NET_ADMIN. */
export const setMark = (fd: number, mark: number): number =>
  setOption(fd, SOL_SOCKET, SO_MARK, mark);

/** Makes the socket use one interface only. Returns 0, `-ENODEV`, or another negative errno. */
export function bindToDevice(fd: number, name: string): number {
  if (name !== encodedDeviceName) {
    const bytes = cString(name);
    if (bytes.length > INTERFACE_NAME_BYTES) return -Errno.ENODEV;
    deviceName.bytes.fill(0);
    deviceName.bytes.set(bytes);
    encodedDeviceName = name;
  }
  const result = libc.setsockopt(
    fd,
    SOL_SOCKET,
    SO_BINDTODEVICE,
    deviceName.address,
    INTERFACE_NAME_BYTES,
  );
  return result < 0 ? -lastErrno() : 0;
}

/** Chooses the local address; port 0 lets the kernel choose. Returns 0 or a negative errno. */
export function bindAddress(
  fd: number,
  view: DataView,
  addressAt: number,
  family: IpVersion,
  port: number,
): number {
  const length = encodeSocketAddress(view, addressAt, family, port);
  return libc.bind(fd, socketAddress.address, length) < 0 ? -lastErrno() : 0;
}

/**
 * Starts a connection. The socket becomes writable when it is decided; ask `takeError` then.
 *
 * @returns 0 when connected at once, `-EINPROGRESS` as a rule, else how it failed at once
 */
export function connectSocket(
  fd: number,
  view: DataView,
  addressAt: number,
  family: IpVersion,
  port: number,
): number {
  const length = encodeSocketAddress(view, addressAt, family, port);
  return libc.connect(fd, socketAddress.address, length) < 0 ? -lastErrno() : 0;
}

/** Bytes received; 0 at the end of the stream; `-EAGAIN` when there are none yet. */
export function receive(fd: number, address: number, length: number): number {
  const count = libc.recv(fd, address, length, MSG_DONTWAIT);
  return count < 0 ? -lastErrno() : count;
}

/** As `receive`, but the bytes stay there. */
export function peek(fd: number, address: number, length: number): number {
  const count = libc.recv(fd, address, length, MSG_DONTWAIT | MSG_PEEK);
  return count < 0 ? -lastErrno() : count;
}

/** As `receive` of a TCP socket, but the bytes are thrown away; tcp(7), MSG_TRUNC. */
export function discard(fd: number, length: number): number {
  const count = libc.recv(fd, option.address, length, MSG_DONTWAIT | MSG_TRUNC);
  return count < 0 ? -lastErrno() : count;
}

/** Buffers that one call of `receiveVector` fills, one after the other. */
export class ReceiveVector {
  readonly #header = allocateStruct(MsgHdr.BYTES);
  readonly #entries: StructMemory;

  constructor(capacity: number) {
    this.#entries = allocateStruct(capacity * IoVec.BYTES);
    setWord(this.#header.view, MsgHdr.VECTOR, this.#entries.address);
  }

  /** Address of the `struct msghdr` of the first `count` buffers. */
  message(count: number): number {
    this.#header.view.setUint32(MsgHdr.VECTOR_LENGTH, count, HOST_ORDER);
    return this.#header.address;
  }

  set(index: number, address: number, length: number): void {
    const at = index * IoVec.BYTES;
    setWord(this.#entries.view, at + IoVec.BASE, address);
    this.#entries.view.setUint32(at + IoVec.LENGTH, length, HOST_ORDER);
  }
}

/** As `receive`, into the first `count` buffers. */
export function receiveVector(fd: number, vector: ReceiveVector, count: number): number {
  const received = libc.recvmsg(fd, vector.message(count), MSG_DONTWAIT);
  return received < 0 ? -lastErrno() : received;
}

/** Bytes taken, possibly fewer than given; `-EAGAIN` when the socket is full. No SIGPIPE. */
export function send(fd: number, address: number, length: number): number {
  const count = libc.send(fd, address, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  return count < 0 ? -lastErrno() : count;
}

/** As `send`, and more follows at once: the kernel need not make a segment of the rest. */
export function sendMore(fd: number, address: number, length: number): number {
  const count = libc.send(fd, address, length, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE);
  return count < 0 ? -lastErrno() : count;
}

/** Sends FIN after what was sent; receiving goes on. Returns 0 or a negative errno. */
export const shutdownWrite = (fd: number): number =>
  libc.shutdown(fd, SHUT_WR) < 0 ? -lastErrno() : 0;

/**
 * Takes the pending error off the socket.
 *
 * @returns 0 for none; a positive errno such as `ECONNREFUSED`; negative when the call failed
 */
export const takeError = (fd: number): number => getOption(fd, SOL_SOCKET, SO_ERROR);

/**
 * Bytes that the peer has not acknowledged, a FIN counting for one; of a socket pair, those that it
 * has not read, with what the kernel needs for them. Or a negative errno.
 */
export const unacknowledged = (fd: number): number =>
  libc.ioctl(fd, SIOCOUTQ, option.address) < 0 ? -lastErrno() : option.view.getInt32(0, HOST_ORDER);

/** Makes `closeFd` send RST and forget what is unsent. Returns 0 or a negative errno. */
export function resetOnClose(fd: number): number {
  linger.view.setInt32(Linger.ON_OFF, 1, HOST_ORDER);
  linger.view.setInt32(Linger.SECONDS, 0, HOST_ORDER);
  const result = libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, linger.address, Linger.BYTES);
  return result < 0 ? -lastErrno() : 0;
}

/** Closes; the descriptor is gone whatever is returned. Returns 0 or a negative errno. */
export const closeFd = (fd: number): number => (libc.close(fd) < 0 ? -lastErrno() : 0);

/** Has `fd`, which is closed, stand for what `by` stood for. Returns 0 or a negative errno. */
export function replaceFd(fd: number, by: number): number {
  const result = libc.dup3(by, fd, SOCK_CLOEXEC) < 0 ? -lastErrno() : 0;
  closeFd(by);
  return result;
}

/** The local port of an IPv4 or IPv6 socket, 0 while it has none; or a negative errno. */
export function localPort(fd: number): number {
  optionLength.view.setUint32(0, SockAddrIn6.BYTES, HOST_ORDER);
  const result = libc.getsockname(fd, socketAddress.address, optionLength.address);
  return result < 0 ? -lastErrno() : socketAddress.view.getUint16(SockAddrIn.PORT);
}

/**
 * Writes the local address of an IPv4 or IPv6 socket to `at`, 4 or 16 bytes.
 *
 * @returns its port, or a negative errno
 */
export function localAddress(fd: number, family: IpVersion, view: DataView, at: number): number {
  const port = localPort(fd);
  if (port < 0) return port;
  const from = family === 4 ? SockAddrIn.ADDRESS : SockAddrIn6.ADDRESS;
  for (let i = 0; i < (family === 4 ? 4 : 16); i += 4) {
    view.setUint32(at + i, socketAddress.view.getUint32(from + i));
  }
  return port;
}

/**
 * Two connected sockets, non-blocking and close-on-exec; give one away at spawn.
 *
 * @param type  `seqpacket` keeps the bounds of messages
 * @throws SystemError  `EMFILE`
 */
export function socketPair(type: 'stream' | 'seqpacket'): [number, number] {
  const kind = type === 'stream' ? SOCK_STREAM : SOCK_SEQPACKET;
  const pair = allocateStruct(2 * INT_BYTES);
  checked(
    libc.socketpair(AddressFamily.UNIX, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.address),
    'socketpair',
  );
  const first = pair.view.getInt32(0, HOST_ORDER);
  const second = pair.view.getInt32(INT_BYTES, HOST_ORDER);
  raiseSendBuffer(first);
  raiseSendBuffer(second);
  return [first, second];
}

/**
 * Makes an inherited descriptor non-blocking. The mode belongs to the open file: every process
 * that shares it is affected.
 *
 * @throws SystemError  `EBADF`
 */
export function setNonBlocking(fd: number): void {
  const flags = checked(libc.fcntl(fd, F_GETFL, 0), 'fcntl(F_GETFL)', { device: `fd ${fd}` });
  checked(libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK), 'fcntl(F_SETFL)', { device: `fd ${fd}` });
}

/** Keeps an inherited descriptor from the children. @throws SystemError  `EBADF` */
export function setCloseOnExec(fd: number): void {
  checked(libc.fcntl(fd, F_SETFD, FD_CLOEXEC), 'fcntl(F_SETFD)', { device: `fd ${fd}` });
}

/** @throws SystemError  `EBADF` */
export function isNonBlocking(fd: number): boolean {
  const flags = checked(libc.fcntl(fd, F_GETFL, 0), 'fcntl(F_GETFL)', { device: `fd ${fd}` });
  return (flags & O_NONBLOCK) !== 0;
}

/** Past net.core.wmem_max where we may; else as far as it goes. */
function raiseSendBuffer(fd: number): void {
  if (setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_PAIR_BUFFER_BYTES) === 0) return;
  setOption(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_PAIR_BUFFER_BYTES);
}

/** An option that is an `int` and not negative; or a negative errno. */
export function getOption(fd: number, level: number, name: number): number {
  optionLength.view.setUint32(0, INT_BYTES, HOST_ORDER);
  const result = libc.getsockopt(fd, level, name, option.address, optionLength.address);
  return result < 0 ? -lastErrno() : option.view.getInt32(0, HOST_ORDER);
}

/** Sets an option that is an `int`. Returns 0 or a negative errno. */
export function setOption(fd: number, level: number, name: number, value: number): number {
  option.view.setInt32(0, value, HOST_ORDER);
  return libc.setsockopt(fd, level, name, option.address, INT_BYTES) < 0 ? -lastErrno() : 0;
}

/** Fills `socketAddress`; returns its length. Flow information and scope stay 0. */
function encodeSocketAddress(
  view: DataView,
  addressAt: number,
  family: IpVersion,
  port: number,
): number {
  const to = socketAddress.view;
  if (family === 4) {
    to.setUint16(SockAddrIn.FAMILY, AddressFamily.INET, HOST_ORDER);
    to.setUint16(SockAddrIn.PORT, port);
    to.setUint32(SockAddrIn.ADDRESS, view.getUint32(addressAt));
    return SockAddrIn.BYTES;
  }
  to.setUint16(SockAddrIn6.FAMILY, AddressFamily.INET6, HOST_ORDER);
  to.setUint16(SockAddrIn6.PORT, port);
  to.setUint32(SockAddrIn6.FLOW_INFO, 0);
  for (let i = 0; i < 16; i += 4) {
    to.setUint32(SockAddrIn6.ADDRESS + i, view.getUint32(addressAt + i));
  }
  to.setUint32(SockAddrIn6.SCOPE_ID, 0);
  return SockAddrIn6.BYTES;
}
