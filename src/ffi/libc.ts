/**
 * The one symbol table of the C library, and the only `dlopen` of the gateway. Everything else in
 * this folder gives these calls names, types and errors.
 *
 * How arguments are declared:
 * - an address is `u64_fast`: a plain number (user space has 47 bits of it), 0 is NULL;
 * - text is `ptr`: a NUL-terminated byte array, read during the call only (`cString`);
 * - `ssize_t` results are `i32`: no call here moves 2 GiB, and the low half of -1 is -1;
 * - `int` flags above 2³¹ do not occur, `unsigned long` requests are `u64_fast`.
 *
 * Variadic functions (`ioctl`, `fcntl`, `open`, `prctl`) are declared in the one shape we use.
 * System V x86-64 and AAPCS64 on Linux pass variadic integers as they pass named ones.
 */
import { dlopen, FFIType, type Pointer, read } from 'bun:ffi';

const ADDRESS = FFIType.u64_fast;
const SIZE = FFIType.u64_fast;
const LONG = FFIType.i64_fast;
const ULONG = FFIType.u64_fast;

const SYMBOLS = {
  __errno_location: { args: [], returns: 'ptr' },

  // Descriptors
  open: { args: ['ptr', 'i32', 'u32'], returns: 'i32' },
  close: { args: ['i32'], returns: 'i32' },
  dup3: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
  read: { args: ['i32', ADDRESS, SIZE], returns: 'i32' },
  write: { args: ['i32', ADDRESS, SIZE], returns: 'i32' },
  fcntl: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
  flock: { args: ['i32', 'i32'], returns: 'i32' },
  ioctl: { args: ['i32', ULONG, ADDRESS], returns: 'i32' },

  // Sockets
  socket: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
  socketpair: { args: ['i32', 'i32', 'i32', ADDRESS], returns: 'i32' },
  connect: { args: ['i32', ADDRESS, 'u32'], returns: 'i32' },
  bind: { args: ['i32', ADDRESS, 'u32'], returns: 'i32' },
  getsockname: { args: ['i32', ADDRESS, ADDRESS], returns: 'i32' },
  getpeername: { args: ['i32', ADDRESS, ADDRESS], returns: 'i32' },
  setsockopt: { args: ['i32', 'i32', 'i32', ADDRESS, 'u32'], returns: 'i32' },
  getsockopt: { args: ['i32', 'i32', 'i32', ADDRESS, ADDRESS], returns: 'i32' },
  recv: { args: ['i32', ADDRESS, SIZE, 'i32'], returns: 'i32' },
  send: { args: ['i32', ADDRESS, SIZE, 'i32'], returns: 'i32' },
  recvmsg: { args: ['i32', ADDRESS, 'i32'], returns: 'i32' },
  recvmmsg: { args: ['i32', ADDRESS, 'u32', 'i32', ADDRESS], returns: 'i32' },
  sendmsg: { args: ['i32', ADDRESS, 'i32'], returns: 'i32' },
  recvfrom: { args: ['i32', ADDRESS, SIZE, 'i32', ADDRESS, ADDRESS], returns: 'i32' },
  sendto: { args: ['i32', ADDRESS, SIZE, 'i32', ADDRESS, 'u32'], returns: 'i32' },
  shutdown: { args: ['i32', 'i32'], returns: 'i32' },
  setns: { args: ['i32', 'i32'], returns: 'i32' },
  if_indextoname: { args: ['u32', ADDRESS], returns: 'ptr' },

  // Waiting
  epoll_create1: { args: ['i32'], returns: 'i32' },
  epoll_ctl: { args: ['i32', 'i32', 'i32', ADDRESS], returns: 'i32' },
  epoll_wait: { args: ['i32', ADDRESS, 'i32', 'i32'], returns: 'i32' },
  eventfd: { args: ['u32', 'i32'], returns: 'i32' },
  poll: { args: [ADDRESS, SIZE, 'i32'], returns: 'i32' },
  clock_gettime: { args: ['i32', ADDRESS], returns: 'i32' },

  // Memory
  memfd_create: { args: ['ptr', 'u32'], returns: 'i32' },
  ftruncate: { args: ['i32', LONG], returns: 'i32' },
  mmap: { args: [ADDRESS, SIZE, 'i32', 'i32', 'i32', LONG], returns: LONG },
  munmap: { args: [ADDRESS, SIZE], returns: 'i32' },
  memcpy: { args: [ADDRESS, ADDRESS, SIZE], returns: ADDRESS },

  // The process
  getpid: { args: [], returns: 'i32' },
  geteuid: { args: [], returns: 'u32' },
  kill: { args: ['i32', 'i32'], returns: 'i32' },
  signal: { args: ['i32', ADDRESS], returns: ADDRESS },
  execve: { args: ['ptr', ADDRESS, ADDRESS], returns: 'i32' },
  setgroups: { args: [SIZE, ADDRESS], returns: 'i32' },
  setgid: { args: ['u32'], returns: 'i32' },
  setuid: { args: ['u32'], returns: 'i32' },
  capset: { args: [ADDRESS, ADDRESS], returns: 'i32' },
  prctl: { args: ['i32', ULONG, ULONG, ULONG, ULONG], returns: 'i32' },
  prlimit: { args: ['i32', 'i32', ADDRESS, ADDRESS], returns: 'i32' },
} as const;

/** glibc first; then the names that musl distributions give their one library. */
const LIBRARY_NAMES = [
  'libc.so.6',
  process.arch === 'arm64' ? 'libc.musl-aarch64.so.1' : 'libc.musl-x86_64.so.1',
  'libc.so',
];

export const libc = openLibrary();

/** Belongs to this thread: each worker loads its own copy of this module. */
const errnoLocation = libc.__errno_location() as Pointer;

/**
 * The errno of the call that just returned -1. Read it in the very next expression: any other
 * call of the runtime may overwrite it.
 */
export const lastErrno = (): number => read.i32(errnoLocation, 0);

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/** `text` as NUL-terminated bytes, to pass for the length of one call. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  const encoded = utf8.encode(text);
  const bytes = new Uint8Array(new ArrayBuffer(encoded.length + 1));
  bytes.set(encoded);
  return bytes;
}

/** The text in front of the first NUL. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return fromUtf8.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function openLibrary() {
  const failures: unknown[] = [];
  for (const name of LIBRARY_NAMES) {
    try {
      return dlopen(name, SYMBOLS).symbols;
    } catch (cause) {
      failures.push(cause);
    }
  }
  throw new Error(`no C library among ${LIBRARY_NAMES.join(', ')}`, {
    cause: new AggregateError(failures),
  });
}
