import type { Instant } from '../stack/time.ts';
import { libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { HOST_ORDER, TimeSpec } from './structs.ts';

const CLOCK_REALTIME = 0;
const CLOCK_MONOTONIC = 1;

/** Filled by each call and read at once, with no call in between. */
const timeSpec = allocateStruct(TimeSpec.BYTES);

/**
 * The present in whole microseconds of CLOCK_MONOTONIC, so that instants of all our processes
 * compare. The call stays in user space (vDSO), cannot fail, and costs as much as
 * `performance.now()`, which counts from the start of each process.
 */
export function monotonicNow(): Instant {
  return Math.floor(monotonicNanoseconds() / 1000) as Instant;
}

/** The same in nanoseconds: exact for 104 days of uptime, and then to the second one. */
export function monotonicNanoseconds(): number {
  libc.clock_gettime(CLOCK_MONOTONIC, timeSpec.address);
  // The low halves, since a BigInt would be an allocation: seconds fit 32 bits for 136 years.
  const seconds = timeSpec.view.getUint32(TimeSpec.SECONDS, HOST_ORDER);
  const nanoseconds = timeSpec.view.getUint32(TimeSpec.NANOSECONDS, HOST_ORDER);
  return seconds * 1_000_000_000 + nanoseconds;
}

/** The time of day: seconds since 1970, and nanoseconds of the next one. */
export function realtimeNow(): { readonly seconds: number; readonly nanoseconds: number } {
  libc.clock_gettime(CLOCK_REALTIME, timeSpec.address);
  const seconds = timeSpec.view.getUint32(TimeSpec.SECONDS, HOST_ORDER);
  const nanoseconds = timeSpec.view.getUint32(TimeSpec.NANOSECONDS, HOST_ORDER);
  return { seconds, nanoseconds };
}
