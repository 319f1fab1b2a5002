/** A counter of the kernel that wakes an `epoll_wait`: how one process tells another to look up. */
import { Errno } from './errno.ts';
import { checked } from './errors.ts';
import { lastErrno, libc } from './libc.ts';
import { allocateStruct } from './memory.ts';
import { HOST_ORDER } from './structs.ts';

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/** What is read and written is one uint64. */
const COUNTER_BYTES = 8;

const one = allocateStruct(COUNTER_BYTES);
one.view.setBigUint64(0, 1n, HOST_ORDER);

/** Only `drainEventFd` writes and reads it, with no call in between. */
const counter = allocateStruct(COUNTER_BYTES);

/**
 * @returns a non-blocking descriptor that the caller owns
 * @throws SystemError  `EMFILE`
 */
export const createEventFd = (): number =>
  checked(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd');

/** Makes the descriptor readable. Returns 0 or a negative errno; a full counter is readable. */
export function signalEventFd(fd: number): number {
  if (libc.write(fd, one.address, COUNTER_BYTES) >= 0) return 0;
  const errno = lastErrno();
  return errno === Errno.EAGAIN ? 0 : -errno;
}

/** Resets the counter. Returns how often it was signalled since, or a negative errno. */
export function drainEventFd(fd: number): number {
  if (libc.read(fd, counter.address, COUNTER_BYTES) >= 0) {
    return counter.view.getUint32(0, HOST_ORDER);
  }
  const errno = lastErrno();
  return errno === Errno.EAGAIN ? 0 : -errno;
}
