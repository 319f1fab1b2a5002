import { expect, test } from 'bun:test';
import { adjust, checksum, fold, pseudoHeaderSum, sum } from '../../../src/stack/wire/checksum.ts';
import { KERNEL_PACKETS } from '../../support/kernel-packets.ts';
import { hex, pattern, referenceChecksum, viewOf } from '../../support/packet-builder.ts';

test('the example of RFC 1071 §3 sums to ddf2', () => {
  const view = viewOf(hex('0001 f203 f4f5 f6f7'));
  expect(sum(view, 0, 8) % 0xffff).toBe(0x2ddf0 % 0xffff);
  expect(fold(sum(view, 0, 8))).toBe(0xddf2);
  expect(checksum(view, 0, 8)).toBe(0x220d);
});

test('an odd last byte is the high half of a word', () => {
  expect(fold(sum(viewOf(hex('0102 03')), 0, 3))).toBe(0x0402);
});

test('no byte sums to 0', () => {
  expect(sum(viewOf(hex('ff')), 0, 0)).toBe(0);
  expect(checksum(viewOf(hex('ff')), 0, 0)).toBe(0xffff);
});

test('every length up to 70 and every alignment agrees with the loop of RFC 1071 §4.1', () => {
  const bytes = pattern(80);
  const view = viewOf(bytes);
  for (let at = 0; at < 8; at++) {
    for (let length = 0; length <= 70; length++) {
      expect(checksum(view, at, length)).toBe(referenceChecksum(bytes.slice(at, at + length)));
    }
  }
});

test('a megabyte of ff bytes is summed exactly', () => {
  const bytes = new Uint8Array(1 << 20).fill(0xff);
  expect(sum(viewOf(bytes), 0, bytes.length)).toBe((bytes.length / 4) * 0xffffffff);
  expect(fold(sum(viewOf(bytes), 0, bytes.length))).toBe(0xffff);
});

test('parts of even length add up to the whole', () => {
  const view = viewOf(pattern(100));
  expect(fold(sum(view, 38, 62, sum(view, 0, 38)))).toBe(fold(sum(view, 0, 100)));
});

test.each([
  [0, 0],
  [0xffff, 0xffff],
  [0x10000, 1],
  [0x1fffe, 0xffff],
  [0xffffffff, 0xffff],
  [0x1_0000_0000, 1],
  [Number.MAX_SAFE_INTEGER, 0x1f],
])('%d folds to %d', (running, folded) => {
  // 2^53 - 1 is 0x1f ffff ffff ffff: three words of ffff, which count nothing, and 1f.
  expect(fold(running)).toBe(folded);
});

test('the pseudo header completes the checksum of a SYN from the kernel', () => {
  const view = viewOf(KERNEL_PACKETS.tcpSynV4);
  const pseudo = pseudoHeaderSum(view, 12, 16, 4, 6, 40);
  expect(checksum(view, 20, 40, pseudo)).toBe(0);
  expect(fold(pseudo)).toBe(fold(0x0a090001 + 0x0a090002 + 6 + 40));
});

test('the example of RFC 1624 §4 updates to 0000, not to ffff', () => {
  expect(adjust(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
});
