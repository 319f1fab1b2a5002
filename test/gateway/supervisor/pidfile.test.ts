import { expect, test } from 'bun:test';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  checkPidfile,
  keepPidfile,
  writePidfile,
} from '../../../src/gateway/supervisor/pidfile.ts';
import { rememberingLog } from './support.ts';

const pidPath = () => join(mkdtempSync(join(tmpdir(), 'culvert-')), 'x.pid');

test('is written, replaces what a crash has left, and is gone at the end', () => {
  const path = pidPath();
  writeFileSync(path, '1\n');
  checkPidfile(path);
  const file = writePidfile(path);
  expect(readFileSync(path, 'utf8')).toBe(`${process.pid}\n`);
  file[Symbol.dispose]();
  expect(readdirSync(dirname(path))).toEqual([]);
});

test('is refused where a link has its name, and what that leads to is as it was', () => {
  const path = pidPath();
  const precious = `${path}.precious`;
  writeFileSync(precious, 'precious');
  symlinkSync(precious, path);
  expect(() => checkPidfile(path)).toThrow(`--pidfile ${path} is a symbolic link`);
  expect(() => writePidfile(path)).toThrow('is a symbolic link');
  expect(readFileSync(precious, 'utf8')).toBe('precious');
});

test.each(['/dev/null', '/tmp'])('%s is no place for it', (path) =>
  expect(() => writePidfile(path)).toThrow(`--pidfile ${path} is no regular file`),
);

test('of another gateway is not removed at the end', () => {
  const path = pidPath();
  const first = writePidfile(path, 1);
  const second = writePidfile(path, 2);
  first[Symbol.dispose]();
  expect(readFileSync(path, 'utf8')).toBe('2\n');
  second[Symbol.dispose]();
  expect(existsSync(path)).toBe(false);
});

test('of a gateway that serves is a warning where it cannot be written', () => {
  const path = pidPath();
  const { log, lines } = rememberingLog();
  keepPidfile(path, log)[Symbol.dispose]();
  expect(existsSync(path)).toBe(false);
  expect(lines).toEqual([]);
  mkdirSync(path);
  keepPidfile(path, log)[Symbol.dispose]();
  expect(lines).toMatchObject([{ level: 'warn', msg: 'pidfile-not-written', file: path }]);
  expect(existsSync(path)).toBe(true);
});
