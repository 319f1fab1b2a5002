/**
 * When a socket to the script host has ended. The supervisor has both ends of each open, for the
 * hosts to come: only a host that shuts one down ends it, which ours does not. Nothing is to be
 * heard from it any more, but it would wake the loop for ever.
 */
import { type Epoll, EpollEvent } from '../../ffi/epoll.ts';
import type { FromDataPlane } from '../messages/control.ts';

/** What to wait for, so that `onEvents` sees the end. */
export const HOST_SOCKET_EVENTS = EpollEvent.IN | EpollEvent.RDHUP;

export class HostSockets {
  readonly #epoll: Epoll;
  readonly #report: (message: FromDataPlane) => void;

  constructor(epoll: Epoll, report: (message: FromDataPlane) => void) {
    this.#epoll = epoll;
    this.#report = report;
  }

  /** What came is read. At its end, a socket is watched no longer, and the operator is told. */
  onEvents(fd: number, socket: 'decisions' | 'conns', events: number): void {
    if ((events & (EpollEvent.RDHUP | EpollEvent.HUP)) === 0) return;
    // One that was taken out was told of already: its events may have been taken before.
    if (this.#epoll.remove(fd) < 0) return;
    this.#report({ kind: 'log', level: 'error', event: 'script-socket-shut', fields: { socket } });
  }
}
