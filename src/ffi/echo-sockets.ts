/**
 * Sockets that send ICMP and ICMPv6 echo requests and receive the replies. A ping socket is the
 * kernel's own way: it chooses the identifier, and hands over nothing else; but the sysctl
 * net.ipv4.ping_group_range forbids it to most. A raw socket needs CAP_NET_RAW, sees every ICMP
 * message from its peer, and so gets a filter for its identifier.
 */
import { lastErrno, libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import type { IpVersion } from './sockets.ts';
import { AddressFamily, HOST_ORDER, SockFilter, SockFprog, setWord } from './structs.ts';

const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;

// RFC 792, RFC 4443 §4.2
const ECHO_REPLY_4 = 0;
const ECHO_REPLY_6 = 129;

/*
 * Classic BPF, include/uapi/linux/bpf_common.h: class, size and mode of an instruction in one word.
 */
const LOAD_BYTE = 0x30;
const LOAD_HALF = 0x28;
const LOAD_HALF_BEHIND_HEADER = 0x48;
const LOAD_BYTE_BEHIND_HEADER = 0x50;
/** X = 4 × the low four bits of a byte: the length of an IPv4 header. */
const LOAD_HEADER_LENGTH = 0xb1;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const WHOLE_PACKET = 0x4_0000;

const IDENTIFIER_AT = 4;
const FILTER_INSTRUCTIONS_MAX = 8;

/** Filled and used within one call of `filterReplies`. */
const instructions = allocateStruct(FILTER_INSTRUCTIONS_MAX * SockFilter.BYTES);
const program = allocateStruct(SockFprog.BYTES);
setWord(program.view, SockFprog.FILTER, instructions.address);

/** A ping socket; `-EACCES` where net.ipv4.ping_group_range does not have our group. */
export const pingSocket = (family: IpVersion): number => icmpSocket(family, SOCK_DGRAM);

/** A raw socket of ICMP or ICMPv6; `-EPERM` without CAP_NET_RAW. */
export const rawEchoSocket = (family: IpVersion): number => icmpSocket(family, SOCK_RAW);

function icmpSocket(family: IpVersion, kind: number): number {
  const domain = family === 4 ? AddressFamily.INET : AddressFamily.INET6;
  const protocol = family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
  const fd = libc.socket(domain, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  return fd < 0 ? -lastErrno() : fd;
}

/**
 * Lets a raw socket see only echo replies with this identifier. IPv4 packets come with their
 * header, ICMPv6 messages without. Returns 0 or a negative errno.
 */
export function filterReplies(fd: number, family: IpVersion, identifier: number): number {
  let count = 0;
  const add = (code: number, jumpTrue: number, jumpFalse: number, operand: number): void => {
    const at = count++ * SockFilter.BYTES;
    instructions.view.setUint16(at + SockFilter.CODE, code, HOST_ORDER);
    instructions.view.setUint8(at + SockFilter.JUMP_TRUE, jumpTrue);
    instructions.view.setUint8(at + SockFilter.JUMP_FALSE, jumpFalse);
    instructions.view.setUint32(at + SockFilter.OPERAND, operand, HOST_ORDER);
  };
  if (family === 4) add(LOAD_HEADER_LENGTH, 0, 0, 0);
  add(family === 4 ? LOAD_BYTE_BEHIND_HEADER : LOAD_BYTE, 0, 0, 0);
  add(JUMP_IF_EQUAL, 0, 3, family === 4 ? ECHO_REPLY_4 : ECHO_REPLY_6);
  add(family === 4 ? LOAD_HALF_BEHIND_HEADER : LOAD_HALF, 0, 0, IDENTIFIER_AT);
  add(JUMP_IF_EQUAL, 0, 1, identifier);
  add(RETURN, 0, 0, WHOLE_PACKET);
  add(RETURN, 0, 0, 0);
  program.view.setUint16(SockFprog.LENGTH, count, HOST_ORDER);
  const result = libc.setsockopt(
    fd,
    SOL_SOCKET,
    SO_ATTACH_FILTER,
    program.address,
    SockFprog.BYTES,
  );
  return result < 0 ? -lastErrno() : 0;
}
