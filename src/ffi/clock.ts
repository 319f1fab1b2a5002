/**
 * CLOCK_MONOTONIC as the stack counts time. The runtime's own clock, `performance.now()`, is
 * CLOCK_MONOTONIC too, but counts from the start of the process and costs a third of a call
 * through FFI. So the difference is measured once, and instants of all our processes compare.
 */
import type { Instant } from '../stack/time.ts';
import { checked } from './errors.ts';
import { libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { HOST_ORDER, TimeSpec } from './structs.ts';

const CLOCK_MONOTONIC = 1;

/** Of so many measurements the tightest counts: a preemption in between spoils one. */
const MEASUREMENTS = 16;

const timeSpec = allocateStruct(TimeSpec.BYTES);

const offsetMicros = measureOffset();

/** The present in microseconds of CLOCK_MONOTONIC; whole numbers, never decreasing. */
export const monotonicNow = (): Instant =>
  Math.floor(performance.now() * 1000 + offsetMicros) as Instant;

/** The same from the kernel itself: slower, with a fraction. */
export function kernelMonotonicMicros(): number {
  checked(libc.clock_gettime(CLOCK_MONOTONIC, timeSpec.address), 'clock_gettime');
  const seconds = Number(timeSpec.view.getBigInt64(TimeSpec.SECONDS, HOST_ORDER));
  const nanoseconds = Number(timeSpec.view.getBigInt64(TimeSpec.NANOSECONDS, HOST_ORDER));
  return seconds * 1_000_000 + nanoseconds / 1000;
}

function measureOffset(): number {
  let tightest = Number.POSITIVE_INFINITY;
  let offset = 0;
  for (let i = 0; i < MEASUREMENTS; i++) {
    const before = performance.now() * 1000;
    const kernel = kernelMonotonicMicros();
    const after = performance.now() * 1000;
    if (after - before < tightest) {
      tightest = after - before;
      offset = kernel - (before + after) / 2;
    }
  }
  return offset;
}
