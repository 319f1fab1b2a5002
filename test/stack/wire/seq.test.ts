import { expect, test } from 'bun:test';
import {
  asSeq,
  seqAdd,
  seqDiff,
  seqGe,
  seqGt,
  seqInWindow,
  seqLe,
  seqLt,
  seqMax,
} from '../../../src/stack/wire/seq.ts';

const last = asSeq(0xffffffff);
const zero = asSeq(0);

test('zero comes after ffffffff', () => {
  expect(seqAdd(last, 1)).toBe(zero);
  expect(seqAdd(zero, -1)).toBe(last);
  expect(seqDiff(zero, last)).toBe(1);
  expect(seqDiff(last, zero)).toBe(-1);
  expect(seqLt(last, zero)).toBe(true);
  expect(seqGt(zero, last)).toBe(true);
  expect(seqMax(last, zero)).toBe(zero);
  expect(seqMax(zero, last)).toBe(zero);
});

test('a number is not before or after itself', () => {
  const seq = asSeq(0x80000000);
  expect([seqLt(seq, seq), seqGt(seq, seq)]).toEqual([false, false]);
  expect([seqLe(seq, seq), seqGe(seq, seq)]).toEqual([true, true]);
});

test('asSeq takes the low 32 bits of any integer', () => {
  expect(asSeq(-1)).toBe(last);
  expect(asSeq(2 ** 32 + 5)).toBe(asSeq(5));
});

test('a window that wraps holds its edges and nothing outside', () => {
  const start = asSeq(0xfffffffe);
  expect(seqInWindow(start, start, 4)).toBe(true);
  expect(seqInWindow(asSeq(1), start, 4)).toBe(true);
  expect(seqInWindow(asSeq(2), start, 4)).toBe(false);
  expect(seqInWindow(asSeq(0xfffffffd), start, 4)).toBe(false);
});

test('an empty window holds nothing', () => {
  expect(seqInWindow(zero, zero, 0)).toBe(false);
});
