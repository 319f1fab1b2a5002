/**
 * What becomes of a frame that the kernel did not take or give, by errno, and what is counted. The
 * lists are those of drivers/net/tun.c: tun_get_user, tun_chr_write_iter, tun_do_read.
 *
 *   EAGAIN, EINTR            nothing there, or no room in TUNSETSNDBUF: TCP sends it again
 *   ENOBUFS, ENOMEM          no memory: the same
 *   EINVAL, EMSGSIZE         a header that it does not understand: this frame is bad, the next may
 *                            not be; superframes again and again: they are given up
 *   EIO                      the interface is down; of a superframe while it is up: as EINVAL
 *   EFAULT                   read: the queue is being torn down; write: an address of ours
 *   EBADFD, EBADF            the interface was deleted
 */
import { Errno } from '../../../ffi/errno.ts';
import { Counter } from '../../../stack/counters.ts';

/** What to do about a call that failed. */
export const TunFault = {
  /** Nothing is wrong. */
  NONE: 0,
  /** This frame is lost, and nothing follows from it. */
  FRAME: 1,
  /** The kernel refuses what stands in front of the frame, or its length. */
  REFUSED: 2,
  DOWN: 3,
  GONE: 4,
} as const;
export type TunFault = (typeof TunFault)[keyof typeof TunFault];

/** @param errno  positive */
export function tunFault(errno: number): TunFault {
  switch (errno) {
    case Errno.EAGAIN:
    case Errno.EINTR:
      return TunFault.NONE;
    case Errno.EINVAL:
    case Errno.EMSGSIZE:
      return TunFault.REFUSED;
    case Errno.EIO:
      return TunFault.DOWN;
    case Errno.EBADFD:
    case Errno.EBADF:
      return TunFault.GONE;
    default:
      return TunFault.FRAME;
  }
}

/** The counter of reads that failed so. */
export function readFaultCounter(errno: number): Counter {
  switch (errno) {
    case Errno.EINVAL:
    case Errno.EMSGSIZE:
      return Counter.DEVICE_READ_REFUSED;
    case Errno.ENOMEM:
    case Errno.ENOBUFS:
      return Counter.DEVICE_READ_MEMORY;
    case Errno.EFAULT:
      return Counter.DEVICE_READ_FAULT;
    default:
      return Counter.DEVICE_READ_OTHER;
  }
}

/** The counter of writes that failed so. */
export function writeFaultCounter(errno: number): Counter {
  switch (errno) {
    case Errno.EINVAL:
      return Counter.DEVICE_WRITE_REFUSED;
    case Errno.EMSGSIZE:
      return Counter.DEVICE_WRITE_TOO_LONG;
    case Errno.EIO:
      return Counter.DEVICE_WRITE_DOWN;
    case Errno.EBADFD:
    case Errno.EBADF:
      return Counter.DEVICE_WRITE_GONE;
    case Errno.EAGAIN:
    case Errno.EINTR:
      return Counter.DEVICE_WRITE_BUSY;
    case Errno.ENOMEM:
    case Errno.ENOBUFS:
      return Counter.DEVICE_WRITE_MEMORY;
    case Errno.EFAULT:
      return Counter.DEVICE_WRITE_FAULT;
    default:
      return Counter.DEVICE_WRITE_OTHER;
  }
}
