/** Limits, privileges and identity of this process. */
import { checked } from './errors.ts';
import { libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { CapData, CapHeader, HOST_ORDER, RLimit, UCred } from './structs.ts';

// include/uapi/asm-generic/resource.h
const RLIMIT_CORE = 4;
const RLIMIT_NPROC = 6;
const RLIMIT_NOFILE = 7;
const RLIMIT_AS = 9;

// include/uapi/linux/prctl.h
const PR_SET_PDEATHSIG = 1;
const PR_SET_DUMPABLE = 4;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;

const CAPABILITY_VERSION_3 = 0x2008_0522;
const SIGKILL = 9;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** Who is at the other end of a unix socket. */
export interface PeerCredentials extends Identity {
  readonly pid: number;
}

export interface ResourceLimits {
  /**
   * Bytes of address space, reserved ones included: JavaScriptCore reserves tens of GiB at start,
   * and a limit below what is mapped makes every later mapping fail.
   */
  readonly addressSpaceBytes?: number;
  /** One more than the highest descriptor that can be opened. */
  readonly openFiles?: number;
  readonly coreBytes?: number;
  /** Threads of this user, not of this process; root is exempt. */
  readonly processes?: number;
}

export const effectiveUid = (): number => libc.geteuid();

/** Raises the soft limit of open files to the hard one. Returns the limit then in force. */
export function raiseFileLimit(): number {
  const limit = allocateStruct(RLimit.BYTES);
  checked(libc.prlimit(0, RLIMIT_NOFILE, 0, limit.address), 'prlimit');
  const hard = limit.view.getBigUint64(RLimit.HARD, HOST_ORDER);
  limit.view.setBigUint64(RLimit.SOFT, hard, HOST_ORDER);
  checked(libc.prlimit(0, RLIMIT_NOFILE, limit.address, 0), 'prlimit');
  return Number(hard);
}

/**
 * Lowers soft and hard limits, for good.
 *
 * @throws SystemError  `EPERM` when a limit lies above the present hard one
 */
export function limitResources(limits: ResourceLimits): void {
  setLimit(RLIMIT_AS, limits.addressSpaceBytes);
  setLimit(RLIMIT_NOFILE, limits.openFiles);
  setLimit(RLIMIT_CORE, limits.coreBytes);
  setLimit(RLIMIT_NPROC, limits.processes);
}

/**
 * Gives up what a process can give up, in an order in which each step is still allowed: groups,
 * group and user where it is root; every capability; the way back through set-uid programs; core
 * dumps and `ptrace` by the same user. The C library changes the user for all threads; the rest
 * holds for the calling thread and those it starts, so call this before anything else.
 *
 * @throws SystemError  `EPERM` when root without CAP_SETUID or CAP_SETGID
 */
export function dropPrivileges({ uid, gid }: Identity): void {
  if (effectiveUid() === 0) {
    checked(libc.setgroups(0, 0), 'setgroups');
    checked(libc.setgid(gid), 'setgid');
    checked(libc.setuid(uid), 'setuid');
  }
  checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), 'prctl(PR_CAP_AMBIENT)');
  dropCapabilities();
  checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 'prctl(PR_SET_NO_NEW_PRIVS)');
  checked(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), 'prctl(PR_SET_DUMPABLE)');
}

/**
 * Has the kernel kill this process when the thread that started it ends. Does nothing for a parent
 * that is gone already: compare `process.ppid` afterwards. Undone by a change of user, so call it
 * after `dropPrivileges`.
 */
export function dieWithParent(): void {
  checked(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), 'prctl(PR_SET_PDEATHSIG)');
}

/**
 * Who opened the other end of a connected unix socket, as it was then.
 *
 * @throws SystemError  `ENOTSOCK`
 */
export function peerCredentials(fd: number): PeerCredentials {
  const credentials = allocateStruct(UCred.BYTES);
  const length = allocateStruct(4);
  length.view.setUint32(0, UCred.BYTES, HOST_ORDER);
  checked(
    libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials.address, length.address),
    'getsockopt(SO_PEERCRED)',
    { device: `fd ${fd}` },
  );
  return {
    pid: credentials.view.getInt32(UCred.PID, HOST_ORDER),
    uid: credentials.view.getUint32(UCred.UID, HOST_ORDER),
    gid: credentials.view.getUint32(UCred.GID, HOST_ORDER),
  };
}

function dropCapabilities(): void {
  const header = allocateStruct(CapHeader.BYTES);
  header.view.setUint32(CapHeader.VERSION, CAPABILITY_VERSION_3, HOST_ORDER);
  const none = allocateStruct(CapData.BYTES);
  checked(libc.capset(header.address, none.address), 'capset');
}

function setLimit(resource: number, value: number | undefined): void {
  if (value === undefined) return;
  const limit = allocateStruct(RLimit.BYTES);
  limit.view.setBigUint64(RLimit.SOFT, BigInt(value), HOST_ORDER);
  limit.view.setBigUint64(RLimit.HARD, BigInt(value), HOST_ORDER);
  checked(libc.prlimit(0, resource, limit.address, 0), 'prlimit');
}
