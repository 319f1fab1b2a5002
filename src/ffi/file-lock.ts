/** Advisory locks of whole files, flock(2): they end with the process that has them. */
import { Errno } from './errno.ts';
import { raise } from './errors.ts';
import { lastErrno, libc } from './libc.ts';

// include/uapi/asm-generic/fcntl.h
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes the lock of an open file, which closing its descriptor gives back.
 *
 * @returns             false while another process has it
 * @throws SystemError  `EBADF`, `ENOLCK`
 */
export function tryLock(fd: number): boolean {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = lastErrno();
  return errno === Errno.EAGAIN ? false : raise(errno, 'flock');
}
