import { expect, test } from 'bun:test';
import { copyBytes, wordsEqual } from '../../../src/stack/wire/bytes.ts';
import { concat, pattern, viewOf } from '../../support/packet-builder.ts';

test('copyBytes copies every length and touches nothing beside it', () => {
  for (let length = 0; length <= 9; length++) {
    const bytes = concat([pattern(9), new Uint8Array(11).fill(0xee)]);
    copyBytes(viewOf(bytes), 10, 0, length);
    const untouched = new Uint8Array(10 - length).fill(0xee);
    const expected = concat([pattern(9), Uint8Array.of(0xee), pattern(length), untouched]);
    expect(bytes).toEqual(expected);
  }
});

test('wordsEqual sees a difference in every byte, and none behind the length', () => {
  const bytes = concat([pattern(12), pattern(12)]);
  expect(wordsEqual(viewOf(bytes), 0, 12, 12)).toBe(true);
  for (let i = 0; i < 12; i++) {
    const other = bytes.with(12 + i, ~(bytes[i] ?? 0));
    expect(wordsEqual(viewOf(other), 0, 12, 12)).toBe(false);
    expect(wordsEqual(viewOf(other), 0, 12, 8)).toBe(i >= 8);
  }
});
