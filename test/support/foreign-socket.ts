/** What native code in another process could do to one of its sockets. */
import { dlopen } from 'bun:ffi';
import { lastErrno, libc } from '../../src/ffi/libc.ts';

/** shutdown(2): which half. */
export const Shut = { READ: 0, WRITE: 1 } as const;

/** include/uapi/asm-generic/unistd.h, the same on all machines. */
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

const { symbols } = dlopen('libc.so.6', {
  syscall: { args: ['i32', 'i32', 'i32', 'i32'], returns: 'i32' },
});

/**
 * Shuts a half of the sockets that are `fds` in the process `pid`: root may, pidfd_getfd(2). It may
 * be killed for the first one.
 */
export function shutForeignSockets(pid: number, fds: readonly number[], how: number): void {
  const process = checked(symbols.syscall(SYS_PIDFD_OPEN, pid, 0, 0), 'pidfd_open');
  const sockets = fds.map((fd) =>
    checked(symbols.syscall(SYS_PIDFD_GETFD, process, fd, 0), 'pidfd_getfd'),
  );
  for (const socket of sockets) checked(libc.shutdown(socket, how), 'shutdown');
  for (const own of [process, ...sockets]) libc.close(own);
}

function checked(result: number, call: string): number {
  if (result < 0) throw new Error(`${call}: errno ${lastErrno()}`);
  return result;
}
