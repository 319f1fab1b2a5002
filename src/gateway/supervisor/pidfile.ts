/**
 * The file with the process id. Its folder may be one that others write to, and the gateway may be
 * root: so nothing that has the name is written to, or followed, and at the end only what was made
 * here is removed.
 */
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import type { Logger } from './log/logger.ts';
import { explained, StartError } from './start-error.ts';

const MODE = 0o644;
const SUFFIX_BYTES = 6;

/**
 * Whether it can be written later.
 *
 * @throws StartError  `NOT_A_FILE` where a link, a folder or a device has the name
 * @throws Error with the code of the system, such as `EACCES`
 */
export function checkPidfile(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isFile() === false) {
    const what = found.isSymbolicLink() ? 'is a symbolic link' : 'is no regular file';
    throw new StartError('NOT_A_FILE', `--pidfile ${path} ${what}: remove it, or name another`);
  }
  accessSync(dirname(path), constants.W_OK);
}

/**
 * Writes it for a gateway that serves already: what is wrong with the file does not end that. In a
 * sticky folder, such as /tmp, only its owner may replace a file that is there.
 */
export function keepPidfile(path: string, log: Logger): Disposable {
  try {
    return explained(`--pidfile ${path}`, () => writePidfile(path));
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    log.warn({ file: path, why: error.message }, 'pidfile-not-written');
    return { [Symbol.dispose]: () => {} };
  }
}

/**
 * Writes the process id beside the place and puts it there; who reads it finds all of it.
 *
 * @returns what removes it, unless somebody else has replaced it
 * @throws as `checkPidfile`
 */
export function writePidfile(path: string, pid = process.pid): Disposable {
  checkPidfile(path);
  const aside = `${path}.${randomBytes(SUFFIX_BYTES).toString('hex')}`;
  const file = openSync(aside, 'wx', MODE);
  try {
    writeFileSync(file, `${pid}\n`);
    renameSync(aside, path);
    const { ino, dev } = fstatSync(file);
    return {
      [Symbol.dispose]: () => {
        const there = lstatSync(path, { throwIfNoEntry: false });
        if (there?.ino === ino && there.dev === dev) rmSync(path, { force: true });
      },
    };
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}
