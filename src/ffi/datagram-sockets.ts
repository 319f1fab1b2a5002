/**
 * UDP sockets of the host, and what of IP a socket of datagrams can set: hop limit, traffic class,
 * fragmentation. Each call returns a value or a negative errno, throws and allocates nothing.
 */
import { lastErrno, libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { getOption, type IpVersion, setOption } from './sockets.ts';
import { AddressFamily, CMsgHdr, HOST_ORDER, IoVec, MsgHdr, setWord } from './structs.ts';

// include/linux/net.h, include/linux/socket.h, include/uapi/asm-generic/socket.h
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;

// include/uapi/linux/in.h, include/uapi/linux/in6.h
export const SOL_IP = 0;
export const SOL_IPV6 = 41;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_MTU_DISCOVER = 10;
const IP_RECVERR = 11;
const IP_RECVTOS = 13;
const IP_MTU = 14;
const IPV6_UNICAST_HOPS = 16;
const IPV6_MTU_DISCOVER = 23;
const IPV6_MTU = 24;
const IPV6_RECVERR = 25;
const IPV6_RECVTCLASS = 66;
const IPV6_TCLASS = 67;

/** The same for both families: IP_PMTUDISC_DONT and IP_PMTUDISC_DO. */
const MAY_FRAGMENT = 0;
const MUST_NOT_FRAGMENT = 2;

// include/uapi/linux/udp.h
export const SOL_UDP = 17;
const UDP_SEGMENT = 103;
export const UDP_GRO = 104;

/** Of one IP option: its numbers for IPv4 and IPv6. */
const setIpOption = (
  fd: number,
  family: IpVersion,
  name4: number,
  name6: number,
  value: number,
): number =>
  family === 4 ? setOption(fd, SOL_IP, name4, value) : setOption(fd, SOL_IPV6, name6, value);

/** A non-blocking UDP socket that no child inherits; or a negative errno such as `EMFILE`. */
export function udpSocket(family: IpVersion): number {
  const domain = family === 4 ? AddressFamily.INET : AddressFamily.INET6;
  const fd = libc.socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd < 0 ? -lastErrno() : fd;
}

/** TTL or hop limit of what the socket sends, 1 to 255. */
export const setHopLimit = (fd: number, family: IpVersion, hops: number): number =>
  setIpOption(fd, family, IP_TTL, IPV6_UNICAST_HOPS, hops);

/** DSCP and ECN of what the socket sends, as one byte. */
export const setTrafficClass = (fd: number, family: IpVersion, trafficClass: number): number =>
  setIpOption(fd, family, IP_TOS, IPV6_TCLASS, trafficClass);

/**
 * Whether the kernel cuts a datagram that is longer than the path takes. Where it must not, IPv4
 * packets carry DF, and a datagram that is known to be too long is refused with `-EMSGSIZE`.
 */
export const setFragmentation = (fd: number, family: IpVersion, mayFragment: boolean): number =>
  setIpOption(
    fd,
    family,
    IP_MTU_DISCOVER,
    IPV6_MTU_DISCOVER,
    mayFragment ? MAY_FRAGMENT : MUST_NOT_FRAGMENT,
  );

/** Keeps ICMP errors about what the socket sent, for `ErrorQueue`. */
export const receiveErrors = (fd: number, family: IpVersion): number =>
  setIpOption(fd, family, IP_RECVERR, IPV6_RECVERR, 1);

/** Has each datagram bring its traffic class, for `DatagramBatch`. */
export const receiveTrafficClass = (fd: number, family: IpVersion): number =>
  setIpOption(fd, family, IP_RECVTOS, IPV6_RECVTCLASS, 1);

/** Takes datagrams of one size that the kernel has put together. Linux 5.0; `-ENOPROTOOPT`. */
export const receiveCoalesced = (fd: number): number => setOption(fd, SOL_UDP, UDP_GRO, 1);

/** Largest packet that the path of a connected socket takes, as far as the kernel knows. */
export const pathMtu = (fd: number, family: IpVersion): number =>
  family === 4 ? getOption(fd, SOL_IP, IP_MTU) : getOption(fd, SOL_IPV6, IPV6_MTU);

/**
 * Bytes that may wait in the socket, each way; the kernel doubles it for its own accounting. Beyond
 * net.core.rmem_max and wmem_max where we may; else as far as it goes.
 */
export function setBuffers(fd: number, receiveBytes: number, sendBytes: number): void {
  if (setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBytes) < 0) {
    setOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBytes);
  }
  if (setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, sendBytes) < 0) {
    setOption(fd, SOL_SOCKET, SO_SNDBUF, sendBytes);
  }
}

/*
 * One message with one buffer and one control message, UDP_SEGMENT. Only `sendSegments` touches it,
 * and makes one call of the kernel with it.
 */
const SEGMENT_CONTROL_BYTES = CMsgHdr.DATA + 8;
const message = allocateStruct(MsgHdr.BYTES);
const vector = allocateStruct(IoVec.BYTES);
const control = allocateStruct(SEGMENT_CONTROL_BYTES);
setWord(message.view, MsgHdr.VECTOR, vector.address);
setWord(message.view, MsgHdr.VECTOR_LENGTH, 1);
setWord(message.view, MsgHdr.CONTROL, control.address);
setWord(message.view, MsgHdr.CONTROL_LENGTH, SEGMENT_CONTROL_BYTES);
setWord(control.view, CMsgHdr.LENGTH, CMsgHdr.DATA + 2);
control.view.setInt32(CMsgHdr.LEVEL, SOL_UDP, HOST_ORDER);
control.view.setInt32(CMsgHdr.TYPE, UDP_SEGMENT, HOST_ORDER);

/**
 * Sends many datagrams with one call: each of `segmentBytes`, the last what is left. Linux 4.18.
 *
 * @returns all bytes; `-EAGAIN` when the socket is full; `-EINVAL`, `-EMSGSIZE` or `-EIO` when
 *          these datagrams, more than one packet each or more than 64, or this route want single
 *          sends
 */
export function sendSegments(
  fd: number,
  address: number,
  length: number,
  segmentBytes: number,
): number {
  setWord(vector.view, IoVec.BASE, address);
  vector.view.setUint32(IoVec.LENGTH, length, HOST_ORDER);
  control.view.setUint16(CMsgHdr.DATA, segmentBytes, HOST_ORDER);
  const sent = libc.sendmsg(fd, message.address, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -lastErrno() : sent;
}
