import { expect, test } from 'bun:test';
import { HalfSipHash } from '../../src/stack/sip-hash.ts';

/** Hash of the bytes 0, 1, 2 … under the key of the kernel's vectors. */
function hashOfBytes(length: number): number {
  const hash = new HalfSipHash(0x03020100, 0x07060504);
  hash.start();
  for (let at = 0; at < length; at += 4) {
    hash.word(at | ((at + 1) << 8) | ((at + 2) << 16) | ((at + 3) << 24));
  }
  // The algorithm for bytes ends with their number; our callers hash tuples of known length.
  hash.word(length << 24);
  return hash.finish();
}

test('is HalfSipHash-1-3: the vectors of the Linux kernel, lib/tests/siphash_kunit.c', () => {
  expect(hashOfBytes(0)).toBe(0x5814c896);
  expect(hashOfBytes(4)).toBe(0x7e059ea6);
  expect(hashOfBytes(8)).toBe(0x577999b1);
});

test('a hash that was used before starts afresh', () => {
  const hash = new HalfSipHash(1, 2);
  const run = () => {
    hash.start();
    hash.word(7);
    return hash.finish();
  };
  expect(run()).toBe(run());
});

test('every bit of key and message changes the hash', () => {
  const values = new Set<number>();
  const run = (key0: number, key1: number, word: number) => {
    const hash = new HalfSipHash(key0, key1);
    hash.start();
    hash.word(word);
    values.add(hash.finish());
  };
  run(0, 0, 0);
  for (let bit = 0; bit < 32; bit++) {
    run(1 << bit, 0, 0);
    run(0, 1 << bit, 0);
    run(0, 0, 1 << bit);
  }
  expect(values.size).toBe(97);
});
