/** What the scheduler is asked for: only kernels since 6.12 tell the slices of a plain thread. */
import { expect, test } from 'bun:test';
import { currentSlice, requestSlices, SHORTEST_SLICE_NS } from '../../src/ffi/scheduling.ts';

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
