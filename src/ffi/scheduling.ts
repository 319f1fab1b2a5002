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

/** `cpu_set_t`, sched.h: 1024 processors. A kernel that is made for more answers EINVAL. */
const CPU_SET_BYTES = 128;

/** In the place of the number of a processor: any. */
export const ANY_PROCESSOR = 0xffff;

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

/** Where the thread that makes it may run. What it was allowed at first it is never more. */
export class Affinity {
  readonly #all = allocateStruct(CPU_SET_BYTES);
  readonly #one = allocateStruct(CPU_SET_BYTES);
  readonly #isKnown: boolean;
  /** Where it stays, or ANY_PROCESSOR. */
  #processor = ANY_PROCESSOR;

  constructor() {
    this.#isKnown = libc.sched_getaffinity(SELF, CPU_SET_BYTES, this.#all.address) >= 0;
  }

  get processor(): number {
    return this.#processor;
  }

  /** Stays where it is now. @returns that processor; ANY_PROCESSOR where the kernel refuses */
  stayHere(): number {
    this.stayOn(libc.sched_getcpu());
    return this.#processor;
  }

  /** Goes to a processor and stays there, if it may; ANY_PROCESSOR: goes where the kernel likes. */
  stayOn(processor: number): void {
    if (processor === this.#processor || !this.#isKnown) return;
    if (processor === ANY_PROCESSOR) {
      libc.sched_setaffinity(SELF, CPU_SET_BYTES, this.#all.address);
      this.#processor = ANY_PROCESSOR;
      return;
    }
    if (!this.#mayUse(processor)) return;
    this.#one.bytes.fill(0);
    this.#one.bytes[processor >>> 3] = 1 << (processor & 7);
    if (libc.sched_setaffinity(SELF, CPU_SET_BYTES, this.#one.address) < 0) return;
    this.#processor = processor;
  }

  #mayUse(processor: number): boolean {
    return ((this.#all.bytes[processor >>> 3] ?? 0) & (1 << (processor & 7))) !== 0;
  }
}
