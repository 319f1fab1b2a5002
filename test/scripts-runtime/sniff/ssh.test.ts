import { expect, test } from 'bun:test';
import { sshBanner } from '../../../src/scripts-runtime/sniff/fixtures.ts';
import { sniff } from '../../../src/scripts-runtime/sniff/sniff.ts';
import { ascii, joined, sniffByteByByte } from '../../support/splits.ts';

const NO_MATCH = { proto: 'unknown', why: 'no-match' } as const;

test('a banner is known with the end of its line', () => {
  const bytes = joined(sshBanner('OpenSSH_9.9 Debian'));
  const { sniffed, length } = sniffByteByByte(bytes);
  expect(sniffed).toEqual({ proto: 'ssh', banner: 'SSH-2.0-OpenSSH_9.9 Debian' });
  expect(length).toBe(bytes.length);
});

test('what follows the line does not matter', () => {
  const sniffed = sniff(joined([...sshBanner(), Uint8Array.of(0, 0, 5, 220)]));
  expect(sniffed).toMatchObject({ proto: 'ssh', banner: 'SSH-2.0-OpenSSH_9.9' });
});

test('a line may end with LF alone, as old clients have it', () => {
  expect(sniff(ascii('SSH-1.99-x\n'))).toEqual({ proto: 'ssh', banner: 'SSH-1.99-x' });
});

test('a line has 255 bytes at most', () => {
  const banner = `SSH-2.0-${'x'.repeat(255 - 8 - 2)}`;
  expect(sniff(ascii(`${banner}\r\n`))).toMatchObject({ banner });
  expect(sniff(ascii(`${banner}x\r\n`))).toEqual(NO_MATCH);
  expect(sniff(ascii(`${banner}xx`))).toEqual(NO_MATCH);
});

test.each([
  'SSH-3.0-x\r\n',
  'SSH-2.0-\r\n',
  'SSH-2.0\r\n',
  'SSH-2.0-a\rb\r\n',
  'SSH-2.0-a\0',
  'SSH-2.0-\xff',
  'ssh-2.0-x\r\n',
])('%j is no banner', (text) => {
  expect(sniff(ascii(text))).toEqual(NO_MATCH);
});
