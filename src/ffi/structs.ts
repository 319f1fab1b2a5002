/**
 * Structs of the kernel as offsets in bytes. All integers are in host order, which is
 * little-endian on x86-64 and arm64, unless the field says "network order".
 */

/** The last argument of `DataView` accessors for what is in host order. */
export const HOST_ORDER = true;

/** Bytes that hold the name of an interface, its NUL included. IFNAMSIZ of linux/if.h. */
export const INTERFACE_NAME_BYTES = 16;

/** `struct ifreq`, linux/if.h. */
export const IfReq = { NAME: 0, FLAGS: 16, BYTES: 40 } as const;

/** `struct sockaddr_in`, linux/in.h. PORT and ADDRESS are in network order. */
export const SockAddrIn = { FAMILY: 0, PORT: 2, ADDRESS: 4, BYTES: 16 } as const;

/** `struct sockaddr_in6`, linux/in6.h. PORT, FLOW_INFO and ADDRESS are in network order. */
export const SockAddrIn6 = {
  FAMILY: 0,
  PORT: 2,
  FLOW_INFO: 4,
  ADDRESS: 8,
  SCOPE_ID: 24,
  BYTES: 28,
} as const;

/** `struct sockaddr_un`, linux/un.h. */
export const SockAddrUn = { FAMILY: 0, PATH: 2, BYTES: 110 } as const;

/** `struct sockaddr_nl`, linux/netlink.h. */
export const SockAddrNl = { FAMILY: 0, PORT_ID: 4, GROUPS: 8, BYTES: 12 } as const;

/** `struct epoll_event`, linux/eventpoll.h: packed on x86-64 and nowhere else. */
export const EpollEventStruct =
  process.arch === 'x64'
    ? ({ EVENTS: 0, DATA: 4, BYTES: 12 } as const)
    : ({ EVENTS: 0, DATA: 8, BYTES: 16 } as const);

/** `struct linger`, linux/socket.h. */
export const Linger = { ON_OFF: 0, SECONDS: 4, BYTES: 8 } as const;

/** `struct iovec`, linux/uio.h. Both are eight bytes long. */
export const IoVec = { BASE: 0, LENGTH: 8, BYTES: 16 } as const;

/** `struct msghdr` of 64-bit systems, sys/socket.h. */
export const MsgHdr = {
  VECTOR: 16,
  VECTOR_LENGTH: 24,
  CONTROL: 32,
  CONTROL_LENGTH: 40,
  FLAGS: 48,
  BYTES: 56,
} as const;

/** `struct mmsghdr` of 64-bit systems, sys/socket.h: a `struct msghdr`, and what was received. */
export const MMsgHdr = { LENGTH: 56, BYTES: 64 } as const;

/** `struct cmsghdr` of 64-bit systems, sys/socket.h; the length counts this header too. */
export const CMsgHdr = { LENGTH: 0, LEVEL: 8, TYPE: 12, DATA: 16 } as const;

/** `struct sock_extended_err`, linux/errqueue.h; the offender's socket address stands behind it. */
export const SockExtendedErr = {
  ERRNO: 0,
  ORIGIN: 4,
  TYPE: 5,
  CODE: 6,
  INFO: 8,
  OFFENDER: 16,
} as const;

/** `struct sock_filter`, linux/filter.h. */
export const SockFilter = { CODE: 0, JUMP_TRUE: 2, JUMP_FALSE: 3, OPERAND: 4, BYTES: 8 } as const;

/** `struct sock_fprog` of 64-bit systems, linux/filter.h. */
export const SockFprog = { LENGTH: 0, FILTER: 8, BYTES: 16 } as const;

/** Writes a 64-bit word, such as an address, without a BigInt. */
export function setWord(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, HOST_ORDER);
  view.setUint32(at + 4, value / 2 ** 32, HOST_ORDER);
}

/** `struct pollfd`, poll.h. */
export const PollFd = { FD: 0, EVENTS: 4, BYTES: 8 } as const;

/** `struct ucred`, linux/socket.h. */
export const UCred = { PID: 0, UID: 4, GID: 8, BYTES: 12 } as const;

/** `struct rlimit64`, linux/resource.h. */
export const RLimit = { SOFT: 0, HARD: 8, BYTES: 16 } as const;

/** `struct timespec` with 64-bit seconds, linux/time_types.h. */
export const TimeSpec = { SECONDS: 0, NANOSECONDS: 8, BYTES: 16 } as const;

/** `struct __user_cap_header_struct`, linux/capability.h. */
export const CapHeader = { VERSION: 0, PID: 4, BYTES: 8 } as const;

/** Two `struct __user_cap_data_struct`, as version 3 wants. linux/capability.h. */
export const CapData = { EFFECTIVE: 0, PERMITTED: 4, INHERITABLE: 8, BYTES: 24 } as const;

/** `struct nlmsghdr`, linux/netlink.h. */
export const NlMsgHdr = {
  LENGTH: 0,
  TYPE: 4,
  FLAGS: 6,
  SEQUENCE: 8,
  PORT_ID: 12,
  BYTES: 16,
} as const;

/** `struct nlmsgerr`, linux/netlink.h: a negative errno and the header of the request. */
export const NlMsgErr = { ERROR: 0, REQUEST: 4, BYTES: 20 } as const;

/** `struct rtattr` and `struct nlattr`: length with this header, type, then the value. */
export const RtAttr = { LENGTH: 0, TYPE: 2, BYTES: 4 } as const;

/** `struct ifinfomsg`, linux/rtnetlink.h. */
export const IfInfoMsg = { FAMILY: 0, INDEX: 4, FLAGS: 8, CHANGE: 12, BYTES: 16 } as const;

/** `struct ifaddrmsg`, linux/if_addr.h. */
export const IfAddrMsg = {
  FAMILY: 0,
  PREFIX_LENGTH: 1,
  FLAGS: 2,
  SCOPE: 3,
  INDEX: 4,
  BYTES: 8,
} as const;

/** `struct rtmsg`, linux/rtnetlink.h. */
export const RtMsg = {
  FAMILY: 0,
  DESTINATION_LENGTH: 1,
  TOS: 3,
  TABLE: 4,
  PROTOCOL: 5,
  SCOPE: 6,
  TYPE: 7,
  /** Bits of a next hop, RTNH_F_*. */
  FLAGS: 8,
  BYTES: 12,
} as const;

/** `struct fib_rule_hdr`, linux/fib_rules.h. */
export const FibRuleHdr = {
  FAMILY: 0,
  DESTINATION_LENGTH: 1,
  SOURCE_LENGTH: 2,
  TOS: 3,
  TABLE: 4,
  ACTION: 7,
  FLAGS: 8,
  BYTES: 12,
} as const;

/** Address families, linux/socket.h. */
export const AddressFamily = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16 } as const;
