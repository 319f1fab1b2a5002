/** What the scheduler of the kernel is asked for, for the thread that calls. */
import { lastErrno, libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { HOST_ORDER, SchedAttr, setWord } from './structs.ts';

// arch/x86/entry/syscalls/syscall_64.tbl, scripts/syscall.tbl
const SYS_SCHED_SETATTR = process.arch === 'arm64' ? 274 : 314;
const SYS_SCHED_GETATTR = process.arch === 'arm64' ? 275 : 315;

/** __setparam_fair of kernel/sched/syscalls.c takes none shorter, and none longer than 100 ms. */
export const SHORTEST_SLICE_NS = 100_000;

const SELF = 0;

/**
 * Asks to run in slices of this length: a thread that wakes may interrupt one whose slices are
 * longer, which otherwise goes on for up to some milliseconds (EEVDF, Linux 6.12). The share of the
 * processor stays what it is, and so does the nice value, so no privilege is needed. An older
 * kernel takes the call and changes nothing.
 *
 * @returns 0, or a negative errno: `-EPERM` where a sandbox around us forbids the call
 */
export function requestSlices(nanoseconds: number): number {
  const { address, view } = allocateStruct(SchedAttr.BYTES);
  if (libc.syscall(SYS_SCHED_GETATTR, SELF, address, SchedAttr.BYTES, 0) < 0) return -lastErrno();
  view.setUint32(SchedAttr.SIZE, SchedAttr.BYTES, HOST_ORDER);
  setWord(view, SchedAttr.RUNTIME, nanoseconds);
  return libc.syscall(SYS_SCHED_SETATTR, SELF, address, 0, 0) < 0 ? -lastErrno() : 0;
}

/** Of the thread that calls, in nanoseconds; or a negative errno. */
export function currentSlice(): number {
  const { address, view } = allocateStruct(SchedAttr.BYTES);
  if (libc.syscall(SYS_SCHED_GETATTR, SELF, address, SchedAttr.BYTES, 0) < 0) return -lastErrno();
  return view.getUint32(SchedAttr.RUNTIME, HOST_ORDER);
}
