import { expect, test } from 'bun:test';
import { Errno } from '../../src/ffi/errno.ts';
import { cString, lastErrno, libc, textOf } from '../../src/ffi/libc.ts';

test('lastErrno tells why the call before it failed', () => {
  expect(libc.close(-1) < 0 ? lastErrno() : 0).toBe(Errno.EBADF);
  expect(libc.open(cString('/no/such/file'), 0, 0) < 0 ? lastErrno() : 0).toBe(Errno.ENOENT);
});

test('a failing read gives -1, not 4294967295', () => {
  expect(libc.read(-1, 0, 1)).toBe(-1);
});

test('text goes to the kernel NUL-terminated and comes back without the NUL', () => {
  expect([...cString('tü')]).toEqual([0x74, 0xc3, 0xbc, 0]);
  expect(textOf(Uint8Array.of(0x74, 0xc3, 0xbc, 0, 0x78, 0))).toBe('tü');
  expect(textOf(Uint8Array.of(0x61, 0x62))).toBe('ab');
});

test('getpid and geteuid agree with the runtime', () => {
  expect(libc.getpid()).toBe(process.pid);
  expect(libc.geteuid()).toBe(process.geteuid?.() ?? -1);
});
