import { Errno } from './errno.ts';
import { checked } from './errors.ts';
import { lastErrno, libc } from './libc.ts';
import { allocateStruct, type StructMemory } from './memory.ts';
import { EpollEventStruct, HOST_ORDER } from './structs.ts';

/** Bits of an event, include/uapi/linux/eventpoll.h. ERR and HUP are reported unasked. */
export const EpollEvent = {
  IN: 0x0001,
  PRI: 0x0002,
  OUT: 0x0004,
  ERR: 0x0008,
  HUP: 0x0010,
  /** The peer closed its writing half. */
  RDHUP: 0x2000,
  /** Report a change once, not a state as long as it lasts. */
  ET: 0x8000_0000,
} as const;

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

/** Events taken per call; what is ready beyond them comes with the next call. */
const EVENTS_PER_WAIT = 256;

const INT32_MAX = 0x7fff_ffff;

/** Everything one loop waits for. Each `wait` overwrites the events of the one before. */
export class Epoll {
  readonly fd: number;
  readonly #change: StructMemory = allocateStruct(EpollEventStruct.BYTES);
  readonly #ready: StructMemory = allocateStruct(EpollEventStruct.BYTES * EVENTS_PER_WAIT);

  /** @throws SystemError  `EMFILE` */
  constructor() {
    this.fd = checked(libc.epoll_create1(EPOLL_CLOEXEC), 'epoll_create1');
  }

  /**
   * Watches `fd`.
   *
   * @param events  bits of `EpollEvent`
   * @param token   uint32, comes back with each event
   * @returns       0, or a negative errno: `EEXIST`, `ENOSPC`, `EPERM` for a plain file
   */
  add(fd: number, events: number, token: number): number {
    return this.#control(EPOLL_CTL_ADD, fd, events, token);
  }

  /** Replaces events and token of a watched `fd`. Returns 0 or a negative errno. */
  modify(fd: number, events: number, token: number): number {
    return this.#control(EPOLL_CTL_MOD, fd, events, token);
  }

  /**
   * Stops watching `fd`; closing the last descriptor of a file does so too. Events of `fd` that
   * were taken by the last `wait` are still there. Returns 0 or a negative errno.
   */
  remove(fd: number): number {
    return this.#control(EPOLL_CTL_DEL, fd, 0, 0);
  }

  /**
   * Waits for events.
   *
   * @param timeoutMs  rounded up, so that a deadline has passed on return; negative or infinite
   *                   waits for ever
   * @returns          events ready; 0 after the timeout or a signal; else a negative errno
   */
  wait(timeoutMs: number): number {
    const timeout = timeoutMs < 0 || timeoutMs > INT32_MAX ? -1 : Math.ceil(timeoutMs);
    const count = libc.epoll_wait(this.fd, this.#ready.address, EVENTS_PER_WAIT, timeout);
    if (count >= 0) return count;
    const errno = lastErrno();
    return errno === Errno.EINTR ? 0 : -errno;
  }

  /** The token of event `i` of the last `wait`. */
  token(i: number): number {
    return this.#ready.view.getUint32(
      i * EpollEventStruct.BYTES + EpollEventStruct.DATA,
      HOST_ORDER,
    );
  }

  /** The bits of event `i` of the last `wait`. */
  events(i: number): number {
    return this.#ready.view.getUint32(
      i * EpollEventStruct.BYTES + EpollEventStruct.EVENTS,
      HOST_ORDER,
    );
  }

  [Symbol.dispose](): void {
    libc.close(this.fd);
  }

  #control(operation: number, fd: number, events: number, token: number): number {
    this.#change.view.setUint32(EpollEventStruct.EVENTS, events, HOST_ORDER);
    this.#change.view.setUint32(EpollEventStruct.DATA, token, HOST_ORDER);
    return libc.epoll_ctl(this.fd, operation, fd, this.#change.address) < 0 ? -lastErrno() : 0;
  }
}
