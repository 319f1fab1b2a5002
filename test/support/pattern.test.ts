import { expect, test } from 'bun:test';
import { firstMismatch, patternAt } from './pattern.ts';

/** `length` bytes of the stream from `at`, over as many repetitions as it takes. */
function take(seed: number, at: number, length: number): Buffer {
  const pieces: Buffer[] = [];
  for (let done = 0; done < length; done += pieces.at(-1)?.length ?? length) {
    pieces.push(patternAt(seed, at + done, length - done));
  }
  return Buffer.concat(pieces);
}

const LENGTH = 3_000_000;

test('what was taken from the stream has no mismatch, however it is cut', () => {
  const whole = take(3, 0, LENGTH);
  expect(whole.length).toBe(LENGTH);
  expect(firstMismatch(3, 0, whole)).toBe(-1);
  expect(firstMismatch(3, 1_048_000, whole.subarray(1_048_000, 1_050_000))).toBe(-1);
});

test('one flipped bit is found at its position', () => {
  const bytes = take(3, 0, LENGTH);
  bytes[2_500_001]! ^= 1;
  expect(firstMismatch(3, 0, bytes)).toBe(2_500_001);
});

test('a lost piece is found, even when it is as long as the block', () => {
  const bytes = take(3, 0, LENGTH);
  expect(firstMismatch(3, 0, bytes.subarray(1_048_573))).toBeLessThan(8);
});

test('streams of two seeds differ', () => {
  expect(firstMismatch(4, 0, take(5, 0, 1000))).toBeLessThan(8);
});
