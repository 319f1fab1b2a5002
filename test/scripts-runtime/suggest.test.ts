import { expect, test } from 'bun:test';
import { nearest } from '../../src/scripts-runtime/suggest.ts';

test.each([
  ['devcie', 'device'],
  ['limit', 'limits'],
  ['LISTENERS', 'listeners'],
  ['tx_queue_length', 'txQueueLength'],
  ['xyz', undefined],
  ['', undefined],
])('"%s" is near %p', (word, meant) =>
  expect(nearest(word, ['device', 'limits', 'listeners', 'txQueueLength'])).toBe(meant),
);
