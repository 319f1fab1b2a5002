/**
 * A file that one process has at a time, flock(2): the kernel gives it free when the process ends,
 * however that happens, so there is no lock that a crash leaves behind.
 */
import { closeSync, constants, fstatSync, openSync, rmSync, statSync } from 'node:fs';
import { Errno } from './errno.ts';
import { raise } from './errors.ts';
import { lastErrno, libc } from './libc.ts';

// include/uapi/asm-generic/fcntl.h
const LOCK_EX = 2;
const LOCK_NB = 4;
const O_CLOEXEC = 0o2000000;
/** Whoever can open a file can lock it. */
const OWNER_ONLY = 0o600;

export class FileLock {
  readonly #path: string;
  #fd: number;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  /**
   * Makes the file where it is missing, and locks it.
   *
   * @returns undefined when another process, or this one, has it
   * @throws Error with the code of the system: `EACCES`, `ELOOP` for a symbolic link, `ENOLCK`
   */
  static tryLock(path: string): FileLock | undefined {
    const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
    for (;;) {
      const fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, OWNER_ONLY);
      let lock: FileLock | undefined;
      try {
        if (!tryLock(fd)) return undefined;
        // Whoever had it may have removed it since it was opened: that is the lock of nobody.
        if (isAt(path, fd)) lock = new FileLock(path, fd);
      } finally {
        if (lock === undefined) closeSync(fd);
      }
      if (lock !== undefined) return lock;
    }
  }

  /** Removes the file, while it is still locked, and gives it free. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    if (isAt(this.#path, this.#fd)) rmSync(this.#path, { force: true });
    closeSync(this.#fd);
    this.#fd = -1;
  }
}

/**
 * Takes the lock of an open file, which closing its descriptor gives back.
 *
 * @returns             false while somebody else has it
 * @throws SystemError  `EBADF`, `ENOLCK`
 */
export function tryLock(fd: number): boolean {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = lastErrno();
  return errno === Errno.EAGAIN ? false : raise(errno, 'flock');
}

function isAt(path: string, fd: number): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  const { ino, dev } = fstatSync(fd);
  return there?.ino === ino && there.dev === dev;
}
