import { describe, expect, test } from 'bun:test';
import { formatBytes, formatSpan, formatTable } from '../../../src/gateway/cli/output.ts';

describe('a table', () => {
  test('has columns as wide as needed, numbers to the right', () =>
    expect(
      formatTable(
        ['NAME', 'COUNT'],
        [
          ['a', 5],
          ['longer', 1234],
        ],
      ),
    ).toBe('NAME    COUNT\na           5\nlonger   1234'));

  test('shows what is absent as a dash', () =>
    expect(formatTable(['A', 'B'], [[undefined, 'x']])).toBe('A  B\n-  x'));

  test('without rows has its heads', () => expect(formatTable(['A', 'B'], [])).toBe('A  B'));
});

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1536, '1.5 KiB'],
  [5 * 1024 ** 3, '5.0 GiB'],
])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  [450, '450ms'],
  [12_340, '12.3s'],
  [310_000, '5m10s'],
  [11_100_000, '3h05m'],
])('%d ms are %s', (ms, text) => expect(formatSpan(ms)).toBe(text));
