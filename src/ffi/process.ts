/** Limits, privileges and identity of this process. */
import { readFileSync } from 'node:fs';
import { Errno } from './errno.ts';
import { checked, raise } from './errors.ts';
import { cString, lastErrno, libc } from './libc.ts';
import { addressOf, allocateStruct } from './memory.ts';
import { CapData, CapHeader, HOST_ORDER, RLimit, UCred } from './structs.ts';

// include/uapi/asm-generic/resource.h
const RLIMIT_CORE = 4;
const RLIMIT_NPROC = 6;
const RLIMIT_NOFILE = 7;
const RLIMIT_AS = 9;

// include/uapi/linux/prctl.h
const PR_SET_PDEATHSIG = 1;
const PR_SET_DUMPABLE = 4;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_GET_NO_NEW_PRIVS = 39;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;

const CAPABILITY_VERSION_3 = 0x2008_0522;
// include/uapi/linux/capability.h
const CAP_DAC_OVERRIDE = 1;
const CAP_DAC_READ_SEARCH = 2;
const CAP_SETGID = 6;
const CAP_SETUID = 7;
/** What root needs to load its own files and then to become somebody else. */
const CAPS_TO_LEAVE_ROOT: readonly number[] = [
  CAP_DAC_OVERRIDE,
  CAP_DAC_READ_SEARCH,
  CAP_SETGID,
  CAP_SETUID,
];
/** Bits of a capability set; the kernel answers EINVAL above the last one that it knows. */
const CAP_BITS = 64;

/** fcntl(2); the only flag is FD_CLOEXEC. */
const F_SETFD = 2;

const POINTER_BYTES = 8;
// HUP, INT, QUIT, USR1, USR2, TERM: signal(7). The runtime uses none of them.
const SIGNALS_OF_PARENT: readonly number[] = [1, 2, 3, 10, 12, 15];
const SIG_IGN = 1;
const SIGKILL = 9;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
const GID_BYTES = 4;
/** NGROUPS_MAX, limits.h. */
const GROUPS_MAX = 65_536;

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
 * dumps and `ptrace` by the same user. The C library changes the user for all threads, by which
 * they lose their capabilities; the rest holds for the calling thread and those it starts, which is
 * what `restartConfined` is for.
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
 * Starts this process over from its own file, with the same arguments and `marker` behind them, and
 * no environment. Privileges are a matter of threads, and the runtime has some before our first
 * line runs: what is given up here, none of them has afterwards.
 *
 * Nothing that the new image executes can gain privileges. Root keeps for it what it takes to leave
 * root (`dropPrivileges`, which holds for all threads in that direction); everybody else has no
 * capability from the start.
 *
 * @param fds  descriptors to keep besides the standard streams: the runtime has marked them all as
 *             close-on-exec
 * @throws SystemError  `EACCES` when the file may not be executed, `ENOENT` when /proc is missing
 */
export function restartConfined(marker: string, fds: readonly number[]): never {
  checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), 'prctl(PR_CAP_AMBIENT)');
  const isRoot = effectiveUid() === 0;
  limitBoundingSet(isRoot ? CAPS_TO_LEAVE_ROOT : []);
  if (!isRoot) dropCapabilities();
  checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 'prctl(PR_SET_NO_NEW_PRIVS)');
  for (const fd of fds) checked(libc.fcntl(fd, F_SETFD, 0), 'fcntl(F_SETFD)');
  const args = readFileSync('/proc/self/cmdline', 'utf8').split('\0').slice(0, -1);
  const argv = pointersTo([...args, marker]);
  const environment = new ArrayBuffer(POINTER_BYTES);
  libc.execve(cString('/proc/self/exe'), addressOf(argv.pointers), addressOf(environment));
  // Also keeps the texts from being collected before the call.
  return raise(lastErrno(), 'execve', { device: argv.texts.length > 0 ? '/proc/self/exe' : '' });
}

/** Whether nothing that this process executes can gain privileges. */
export const hasNoNewPrivileges = (): boolean => libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) === 1;

/**
 * Has the kernel kill this process when the thread that started it ends. Does nothing for a parent
 * that is gone already: compare `process.ppid` afterwards. Undone by a change of user, so call it
 * after `dropPrivileges`.
 */
export function dieWithParent(): void {
  checked(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), 'prctl(PR_SET_PDEATHSIG)');
}

/**
 * Has this process, and what it executes, take no notice of the signals that a gateway is told
 * things by. Service managers send them to all processes of a service, and what they mean is for
 * the parent to say.
 */
export function leaveSignalsToParent(): void {
  // The kernel refuses none of these.
  for (const signal of SIGNALS_OF_PARENT) libc.signal(signal, SIG_IGN);
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

/**
 * The supplementary groups of who opened the other end of a connected unix socket. They come
 * without a length; so most peers are served by the first call, and ERANGE tells of the others.
 *
 * @throws SystemError  `ENOTSOCK`
 */
export function peerGroups(fd: number): number[] {
  for (let count = 64; ; count = GROUPS_MAX) {
    const groups = allocateStruct(count * GID_BYTES);
    const length = allocateStruct(4);
    length.view.setUint32(0, count * GID_BYTES, HOST_ORDER);
    const result = libc.getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.address, length.address);
    const errno = result < 0 ? lastErrno() : 0;
    if (errno === Errno.ERANGE && count < GROUPS_MAX) continue;
    if (errno !== 0) raise(errno, 'getsockopt(SO_PEERGROUPS)', { device: `fd ${fd}` });
    const found = length.view.getUint32(0, HOST_ORDER) / GID_BYTES;
    return Array.from({ length: found }, (_, i) =>
      groups.view.getUint32(i * GID_BYTES, HOST_ORDER),
    );
  }
}

function dropCapabilities(): void {
  const header = allocateStruct(CapHeader.BYTES);
  header.view.setUint32(CapHeader.VERSION, CAPABILITY_VERSION_3, HOST_ORDER);
  const none = allocateStruct(CapData.BYTES);
  checked(libc.capset(header.address, none.address), 'capset');
}

/** Needs CAP_SETPCAP; who does not have it cannot gain what is left in the set either. */
function limitBoundingSet(kept: readonly number[]): void {
  for (let capability = 0; capability < CAP_BITS; capability++) {
    if (kept.includes(capability)) continue;
    if (libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) === 0) continue;
    const errno = lastErrno();
    if (errno === Errno.EINVAL || errno === Errno.EPERM) return;
    raise(errno, 'prctl(PR_CAPBSET_DROP)');
  }
}

/** A NULL-terminated array of C strings; the addresses hold as long as `texts` is referenced. */
function pointersTo(strings: readonly string[]): {
  readonly pointers: ArrayBuffer;
  readonly texts: readonly ArrayBuffer[];
} {
  const texts = strings.map((text) => cString(text).buffer);
  const pointers = new ArrayBuffer((texts.length + 1) * POINTER_BYTES);
  const view = new DataView(pointers);
  texts.forEach((text, i) => {
    view.setBigUint64(i * POINTER_BYTES, BigInt(addressOf(text)), HOST_ORDER);
  });
  return { pointers, texts };
}

function setLimit(resource: number, value: number | undefined): void {
  if (value === undefined) return;
  const limit = allocateStruct(RLimit.BYTES);
  limit.view.setBigUint64(RLimit.SOFT, BigInt(value), HOST_ORDER);
  limit.view.setBigUint64(RLimit.HARD, BigInt(value), HOST_ORDER);
  checked(libc.prlimit(0, resource, limit.address, 0), 'prlimit');
}
