/** Layouts, numbers of requests and numbers of errors against the headers of this machine. */
import { afterAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Errno } from '../../src/ffi/errno.ts';
import { TunIoctl } from '../../src/ffi/ioctls.ts';
import {
  CapData,
  EpollEventStruct,
  IfAddrMsg,
  IfInfoMsg,
  IfReq,
  Linger,
  NlMsgErr,
  NlMsgHdr,
  RLimit,
  RtAttr,
  RtMsg,
  SockAddrIn,
  SockAddrIn6,
  SockAddrNl,
  TimeSpec,
  UCred,
} from '../../src/ffi/structs.ts';

/** Our value for each C expression. */
const EXPECTED: Readonly<Record<string, number>> = {
  'sizeof(struct ifreq)': IfReq.BYTES,
  'offsetof(struct ifreq, ifr_flags)': IfReq.FLAGS,
  'sizeof(struct sockaddr_in)': SockAddrIn.BYTES,
  'offsetof(struct sockaddr_in, sin_addr)': SockAddrIn.ADDRESS,
  'sizeof(struct sockaddr_in6)': SockAddrIn6.BYTES,
  'offsetof(struct sockaddr_in6, sin6_addr)': SockAddrIn6.ADDRESS,
  'offsetof(struct sockaddr_in6, sin6_scope_id)': SockAddrIn6.SCOPE_ID,
  'sizeof(struct sockaddr_nl)': SockAddrNl.BYTES,
  'sizeof(struct epoll_event)': EpollEventStruct.BYTES,
  'offsetof(struct epoll_event, data)': EpollEventStruct.DATA,
  'sizeof(struct linger)': Linger.BYTES,
  'sizeof(struct ucred)': UCred.BYTES,
  'offsetof(struct ucred, gid)': UCred.GID,
  'sizeof(struct rlimit)': RLimit.BYTES,
  'offsetof(struct rlimit, rlim_max)': RLimit.HARD,
  'sizeof(struct timespec)': TimeSpec.BYTES,
  'offsetof(struct timespec, tv_nsec)': TimeSpec.NANOSECONDS,
  '2 * sizeof(struct __user_cap_data_struct)': CapData.BYTES,
  'sizeof(struct nlmsghdr)': NlMsgHdr.BYTES,
  'offsetof(struct nlmsghdr, nlmsg_seq)': NlMsgHdr.SEQUENCE,
  'sizeof(struct nlmsgerr)': NlMsgErr.BYTES,
  'sizeof(struct rtattr)': RtAttr.BYTES,
  'offsetof(struct rtattr, rta_type)': RtAttr.TYPE,
  'sizeof(struct ifinfomsg)': IfInfoMsg.BYTES,
  'offsetof(struct ifinfomsg, ifi_index)': IfInfoMsg.INDEX,
  'offsetof(struct ifinfomsg, ifi_change)': IfInfoMsg.CHANGE,
  'sizeof(struct ifaddrmsg)': IfAddrMsg.BYTES,
  'offsetof(struct ifaddrmsg, ifa_flags)': IfAddrMsg.FLAGS,
  'offsetof(struct ifaddrmsg, ifa_index)': IfAddrMsg.INDEX,
  'sizeof(struct rtmsg)': RtMsg.BYTES,
  'offsetof(struct rtmsg, rtm_table)': RtMsg.TABLE,
  'offsetof(struct rtmsg, rtm_type)': RtMsg.TYPE,
  ...TunIoctl,
  ...Errno,
};

const HEADERS = [
  'errno.h',
  'netinet/in.h',
  'net/if.h',
  'stddef.h',
  'stdio.h',
  'sys/epoll.h',
  'sys/ioctl.h',
  'sys/resource.h',
  'sys/socket.h',
  'time.h',
  'linux/capability.h',
  'linux/if_tun.h',
  'linux/netlink.h',
  'linux/rtnetlink.h',
];

const compiler = Bun.which('cc');
if (compiler === null) console.warn('SKIPPED: structs against the headers: no C compiler');

const folder = mkdtempSync(join(tmpdir(), 'culvert-structs-'));
afterAll(() => rmSync(folder, { recursive: true }));

test.skipIf(compiler === null)('every offset, size and number is that of the headers', () => {
  const lines = Object.keys(EXPECTED).map(
    (expression) => `printf("%lu\\n", (unsigned long)(${expression}));`,
  );
  const includes = HEADERS.map((header) => `#include <${header}>`).join('\n');
  const source = join(folder, 'print.c');
  const program = join(folder, 'print');
  writeFileSync(
    source,
    `#define _GNU_SOURCE\n${includes}\nint main(void) {\n${lines.join('\n')}\n}\n`,
  );
  const built = Bun.spawnSync([compiler ?? 'cc', '-o', program, source]);
  expect(built.stderr.toString()).toBe('');
  const values = Bun.spawnSync([program]).stdout.toString().trim().split('\n').map(Number);
  const found = Object.fromEntries(Object.keys(EXPECTED).map((key, i) => [key, values[i]]));
  expect(found).toEqual({ ...EXPECTED });
});

describe('without a compiler', () => {
  test('the requests of a TUN device have the numbers that strace shows', () => {
    expect(TunIoctl.TUNSETIFF).toBe(0x4004_54ca);
    expect(TunIoctl.TUNSETOFFLOAD).toBe(0x4004_54d0);
    expect(TunIoctl.TUNGETIFF).toBe(0x8004_54d2);
  });

  test('struct epoll_event is packed on x86-64 only', () => {
    expect(EpollEventStruct.BYTES).toBe(process.arch === 'x64' ? 12 : 16);
  });
});
