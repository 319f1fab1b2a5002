import { expect, test } from 'bun:test';
import { DROP_REASON_COUNT, DROP_REASON_NAMES, DropReason } from '../../src/stack/drop-reason.ts';

test('values are dense, so that they index counters and names', () => {
  const values = Object.values(DropReason);
  expect(values.toSorted((a, b) => a - b)).toEqual(values.map((_, index) => index) as never);
  expect(DROP_REASON_COUNT).toBe(values.length);
});

test('a name is the word of the metric', () => {
  expect(DROP_REASON_NAMES[DropReason.FLOW_TABLE_FULL]).toBe('flow-table-full');
  expect(DROP_REASON_NAMES[DropReason.BAD_TCP_CHECKSUM]).toBe('bad-tcp-checksum');
  expect(new Set(DROP_REASON_NAMES).size).toBe(DROP_REASON_COUNT);
});
