import { expect, test } from 'bun:test';
import { maskHostBits } from '../../../src/gateway/supervisor/kernel.ts';

test.each([
  [[10, 1, 2, 3], 8, [10, 0, 0, 0]],
  [[198, 19, 255, 1], 15, [198, 18, 0, 0]],
  [[10, 1, 2, 3], 32, [10, 1, 2, 3]],
  [[10, 1, 2, 3], 0, [0, 0, 0, 0]],
])('a route to %p/%d goes to %p', (address, prefixLength, destination) =>
  expect([...maskHostBits(new Uint8Array(address), prefixLength)]).toEqual(destination),
);
