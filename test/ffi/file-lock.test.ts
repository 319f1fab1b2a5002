import { expect, spyOn, test } from 'bun:test';
import { existsSync, mkdtempSync, readdirSync, symlinkSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileLock } from '../../src/ffi/file-lock.ts';
import { libc } from '../../src/ffi/libc.ts';

const lockPath = () => join(mkdtempSync(join(tmpdir(), 'culvert-')), 'x.lock');

test('one has it at a time, and leaves no file behind', () => {
  const path = lockPath();
  const first = FileLock.tryLock(path);
  expect(first).toBeDefined();
  expect(FileLock.tryLock(path)).toBeUndefined();
  first?.[Symbol.dispose]();
  expect(existsSync(path)).toBe(false);
  using second = FileLock.tryLock(path);
  expect(second).toBeDefined();
});

test('ends with its process, however that ends', async () => {
  const path = lockPath();
  const module = join(import.meta.dir, '../../src/ffi/file-lock.ts');
  const source = `
    const { FileLock } = await import(${JSON.stringify(module)});
    console.log(FileLock.tryLock(${JSON.stringify(path)}) !== undefined);
    process.kill(process.pid, 'SIGKILL');`;
  const child = Bun.spawn([process.execPath, '-e', source], { stdout: 'pipe' });
  await child.exited;
  expect(await child.stdout.text()).toBe('true\n');
  expect(existsSync(path)).toBe(true);
  using lock = FileLock.tryLock(path);
  expect(lock).toBeDefined();
});

test('no child inherits it', () => {
  const path = lockPath();
  using lock = FileLock.tryLock(path);
  expect(lock).toBeDefined();
  const listed = Bun.spawnSync(['ls', '-l', '/proc/self/fd']).stdout.toString();
  expect(listed).toContain(' -> ');
  expect(listed).not.toContain(path);
});

test('does not remove the file of another, nor follow a link', () => {
  const path = lockPath();
  const first = FileLock.tryLock(path);
  unlinkSync(path);
  const second = FileLock.tryLock(path);
  first?.[Symbol.dispose]();
  expect(existsSync(path)).toBe(true);
  second?.[Symbol.dispose]();
  symlinkSync('/dev/null', path);
  expect(() => FileLock.tryLock(path)).toThrow('ELOOP');
});

test('leaves no descriptor behind where the system cannot lock', () => {
  const path = lockPath();
  const { flock: real } = libc;
  // errno is that of a call that fails, EBADF.
  const failing = (_: number, operation: number): number => real(-1, operation);
  const flock = spyOn(libc, 'flock').mockImplementation(failing as typeof real);
  const before = readdirSync('/proc/self/fd').length;
  try {
    expect(() => FileLock.tryLock(path)).toThrow('flock');
  } finally {
    flock.mockRestore();
  }
  expect(readdirSync('/proc/self/fd')).toHaveLength(before);
});
