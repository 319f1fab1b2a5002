/**
 * A look into the network namespace that a device was moved to. It lasts for one synchronous call:
 * whoever keeps a descriptor of a namespace, or a socket in it, keeps it alive after its container
 * has ended, and the device with it.
 */
import { fstatSync, statSync } from 'node:fs';
import { Errno } from './errno.ts';
import { checked, raise } from './errors.ts';
import { TunIoctl } from './ioctls.ts';
import { cString, lastErrno, libc } from './libc.ts';
import { closeFd } from './sockets.ts';

const O_RDONLY = 0;
const O_CLOEXEC = 0o2000000;
const CLONE_NEWNET = 0x4000_0000;
/** A network namespace belongs to a thread; the others stay where they are. */
const OWN_NAMESPACE = '/proc/thread-self/ns/net';

/**
 * Calls `run` in the namespace of the TUN device behind `tunFd`.
 *
 * @throws SystemError  `EPERM` without CAP_SYS_ADMIN, `EBADFD` once the interface was deleted,
 *                      `EINVAL` or `ENOTTY` on Linux before 5.2; and whatever `run` throws
 */
export function inNamespaceOf<Result>(tunFd: number, run: () => Result): Result {
  using opened = new DisposableStack();
  const own = (fd: number): number => {
    opened.defer(() => closeFd(fd));
    return fd;
  };
  const there = own(
    checked(libc.ioctl(tunFd, TunIoctl.TUNGETDEVNETNS, 0), 'ioctl(TUNGETDEVNETNS)'),
  );
  const home = own(
    checked(libc.open(cString(OWN_NAMESPACE), O_RDONLY | O_CLOEXEC, 0), `open(${OWN_NAMESPACE})`),
  );
  checked(libc.setns(there, CLONE_NEWNET), 'setns');
  try {
    return run();
  } finally {
    // Who cannot come home works in a network that is not its own.
    checked(libc.setns(home, CLONE_NEWNET), 'setns');
  }
}

/** All others say that the kernel does not tell this to us. */
const REAL_ERRORS: ReadonlySet<number> = new Set([
  Errno.EBADFD,
  Errno.EMFILE,
  Errno.ENFILE,
  Errno.ENOMEM,
]);

/**
 * Whether the TUN device behind `tunFd` is in the network namespace of this thread. A kernel that
 * cannot tell (before Linux 5.2) is taken to say so.
 *
 * @throws SystemError  `EBADFD` once the interface was deleted; `EMFILE`, `ENFILE`, `ENOMEM`
 */
export function isInOwnNamespace(tunFd: number): boolean {
  const there = libc.ioctl(tunFd, TunIoctl.TUNGETDEVNETNS, 0);
  if (there < 0) {
    const errno = lastErrno();
    return REAL_ERRORS.has(errno) ? raise(errno, 'ioctl(TUNGETDEVNETNS)') : true;
  }
  const { ino, dev } = fstatSync(there);
  closeFd(there);
  const own = statSync(OWN_NAMESPACE);
  return own.ino === ino && own.dev === dev;
}
