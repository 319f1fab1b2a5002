import { Errno, errnoName } from './errno.ts';
import { lastErrno } from './libc.ts';

/** What else is known about a failure. */
export interface SystemErrorDetails {
  /** The interface or file the call was about. */
  readonly device?: string;
  /** What the operator can do; found in the table of hints when left out. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/**
 * A call of the kernel failed. The message alone tells an operator what to do:
 * `ioctl(TUNSETIFF) on culvert0: EPERM (needs CAP_NET_ADMIN)`.
 */
export class SystemError extends Error {
  override readonly name = 'SystemError';
  /** The name of the error: `EPERM`. */
  readonly code: string;
  /** The number behind `code`, positive. */
  readonly errno: number;
  /** The call, and in brackets its request where it multiplexes: `ioctl(TUNSETIFF)`. */
  readonly syscall: string;
  readonly device: string | undefined;
  readonly hint: string | undefined;

  constructor(errno: number, syscall: string, details: SystemErrorDetails = {}) {
    const code = errnoName(errno);
    const hint = details.hint ?? hintFor(errno, syscall);
    const where = details.device === undefined ? '' : ` on ${details.device}`;
    const advice = hint === undefined ? '' : ` (${hint})`;
    super(
      `${syscall}${where}: ${code}${advice}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.errno = Math.abs(errno);
    this.syscall = syscall;
    this.device = details.device;
    this.hint = hint;
  }
}

/** Throws the named error of `errno`, positive or negative. */
export function raise(errno: number, syscall: string, details?: SystemErrorDetails): never {
  throw new SystemError(errno, syscall, details);
}

/**
 * Passes on the result of a call.
 *
 * @param details  written out, not computed by further calls: errno must still be that of the call
 * @throws SystemError  when `result` is negative
 */
export function checked(result: number, syscall: string, details?: SystemErrorDetails): number {
  return result < 0 ? raise(lastErrno(), syscall, details) : result;
}

/** What to do, by call and error: a request with brackets first, then the call without them. */
const HINTS: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  'open(/dev/net/tun)': {
    [Errno.ENOENT]: 'no /dev/net/tun: modprobe tun, or pass the device into the container',
    [Errno.ENODEV]: 'the tun module is not loaded: modprobe tun',
    [Errno.EACCES]: 'no access to /dev/net/tun: run as root or change its mode',
    [Errno.EPERM]: 'the device cgroup of this container forbids /dev/net/tun',
  },
  'ioctl(TUNSETIFF)': {
    [Errno.EBUSY]: 'another process has this device open',
    [Errno.EEXIST]: 'an interface of another kind has this name',
    [Errno.EINVAL]: 'the name is invalid, or the device exists with other flags',
  },
  'ioctl(TUNGETIFF)': {
    [Errno.ENOTTY]: 'this descriptor is no TUN device',
    [Errno.EBADF]: 'no such descriptor is open',
    [Errno.EBADFD]: 'no interface is attached to it, or the interface was deleted',
  },
  setns: { [Errno.EPERM]: 'needs CAP_SYS_ADMIN' },
  'netlink(RTM_NEWROUTE)': {
    [Errno.EEXIST]: 'another route to this prefix exists',
    [Errno.ENETDOWN]: 'the interface is down',
  },
  'netlink(RTM_NEWRULE)': {
    [Errno.EEXIST]: 'a rule of others has this priority and table: choose another priority',
  },
  'netlink(RTM_NEWADDR)': {
    [Errno.EACCES]: 'IPv6 is disabled on this interface: net.ipv6.conf.*.disable_ipv6',
    [Errno.EOPNOTSUPP]: 'this kernel has no support for the address family',
  },
  setgroups: { [Errno.EPERM]: 'needs CAP_SETGID' },
  setgid: { [Errno.EPERM]: 'needs CAP_SETGID' },
  setuid: { [Errno.EPERM]: 'needs CAP_SETUID' },
  prlimit: { [Errno.EPERM]: 'needs CAP_SYS_RESOURCE' },
  ioctl: {
    [Errno.EPERM]: 'needs CAP_NET_ADMIN',
    [Errno.EBADFD]: 'the interface was deleted',
  },
  netlink: {
    [Errno.EPERM]: 'needs CAP_NET_ADMIN',
    [Errno.ENODEV]: 'no such interface',
  },
  setsockopt: { [Errno.EPERM]: 'needs CAP_NET_ADMIN' },
};

/** What to do, whatever the call was. */
const COMMON_HINTS: Readonly<Record<number, string>> = {
  [Errno.EMFILE]: 'raise the limit of open files: ulimit -n, or LimitNOFILE= of the unit',
  [Errno.ENFILE]: 'the machine is out of open files: fs.file-max',
};

function hintFor(errno: number, syscall: string): string | undefined {
  const positive = Math.abs(errno);
  const call = syscall.replace(/\(.*/, '');
  return HINTS[syscall]?.[positive] ?? HINTS[call]?.[positive] ?? COMMON_HINTS[positive];
}
