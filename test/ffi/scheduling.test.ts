/** What the scheduler is asked for. Only kernels since 6.12 tell the slices of a plain thread. */
import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import {
  Affinity,
  ANY_PROCESSOR,
  currentSlice,
  requestSlices,
  SHORTEST_SLICE_NS,
} from '../../src/ffi/scheduling.ts';

const before = currentSlice();

test.skipIf(before <= 0)('slices are as short as was asked for', () => {
  expect(requestSlices(2 * SHORTEST_SLICE_NS)).toBe(0);
  expect(currentSlice()).toBe(2 * SHORTEST_SLICE_NS);
  requestSlices(before);
  expect(currentSlice()).toBe(before);
});

test.skipIf(before <= 0)('none is shorter than the kernel allows', () => {
  expect(requestSlices(1)).toBe(0);
  expect(currentSlice()).toBe(SHORTEST_SLICE_NS);
  requestSlices(before);
});

/** Processors of this thread, as the kernel prints them: `0-1`. */
const allowed = (): string | undefined =>
  /^Cpus_allowed_list:\s+(\S+)/m.exec(readFileSync('/proc/thread-self/status', 'utf8'))?.[1];

test('a thread stays where it is, goes where it is sent, and is let go again', () => {
  const all = allowed();
  const affinity = new Affinity();
  const here = affinity.stayHere();
  expect(allowed()).toBe(String(here));
  affinity.stayOn(ANY_PROCESSOR);
  expect(allowed()).toBe(all);
  affinity.stayOn(here);
  expect([affinity.processor, allowed()]).toEqual([here, String(here)]);
  affinity.stayOn(ANY_PROCESSOR);
  expect(allowed()).toBe(all);
});

test('a processor that there is not, or that it may not use, changes nothing', () => {
  const all = allowed();
  const affinity = new Affinity();
  for (const processor of [1023, 4096, ANY_PROCESSOR - 1]) {
    affinity.stayOn(processor);
    expect([affinity.processor, allowed()]).toEqual([ANY_PROCESSOR, all]);
  }
});
