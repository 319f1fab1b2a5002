/**
 * The sockets to the script host, and when one of them has ended. The supervisor has both ends of
 * each open, for the hosts to come: only a host that shuts one down ends it, which ours does not.
 * Nothing is to be heard from it any more, but it would wake the loop for ever; so it is watched no
 * longer, the supervisor is told, and passes others.
 */
import { type Epoll, EpollEvent } from '../../ffi/epoll.ts';
import { closeFd, replaceFd } from '../../ffi/sockets.ts';
import { DataPlaneFd, type FromDataPlane, type HostSocket } from '../messages/control.ts';
import { takeDescriptor } from './passed-descriptors.ts';

/** What to wait for, so that `onEvents` sees the end. */
export const HOST_SOCKET_EVENTS = EpollEvent.IN | EpollEvent.RDHUP;

const OWN_FDS = { decisions: DataPlaneFd.SCRIPTS, conns: DataPlaneFd.CONNS };

export class HostSockets {
  readonly #epoll: Epoll;
  readonly #report: (message: FromDataPlane) => boolean;
  readonly #fds: Readonly<Record<HostSocket, number>>;
  readonly #handover: number;
  readonly #isOver: Record<HostSocket, boolean> = { decisions: false, conns: false };
  /** One that has ended, which the supervisor does not know yet. */
  #untold: HostSocket | undefined;

  /** @param report  tells the supervisor, unless it is too far behind: false then */
  constructor(
    epoll: Epoll,
    report: (message: FromDataPlane) => boolean,
    fds: Readonly<Record<HostSocket, number>> = OWN_FDS,
    handover: number = DataPlaneFd.HANDOVER,
  ) {
    this.#epoll = epoll;
    this.#report = report;
    this.#fds = fds;
    this.#handover = handover;
  }

  /** What came is read. */
  onEvents(socket: HostSocket, events: number): void {
    if ((events & (EpollEvent.RDHUP | EpollEvent.HUP)) !== 0) this.over(socket);
  }

  /** It has ended, or takes nothing any more, which no event tells of. */
  over(socket: HostSocket): void {
    if (this.#isOver[socket]) return;
    this.#isOver[socket] = true;
    this.#epoll.remove(this.#fds[socket]);
    this.#untold = socket;
    this.tell();
  }

  /** The supervisor has to know, or scripts never decide again: in each turn, until it is told. */
  tell(): void {
    const socket = this.#untold;
    if (socket === undefined) return;
    if (this.#report({ kind: 'host-socket-shut', socket })) this.#untold = undefined;
  }

  /**
   * Puts those that were passed with these numbers in their places, to be watched anew, and tells
   * how it went.
   *
   * @returns false when they did not come
   */
  replace(numbers: Readonly<Record<HostSocket, number>>): boolean {
    const decisions = takeDescriptor(numbers.decisions, this.#handover);
    const conns = takeDescriptor(numbers.conns, this.#handover);
    if (decisions === undefined || conns === undefined) {
      for (const fd of [decisions, conns]) if (fd !== undefined) closeFd(fd);
      this.#report({ kind: 'host-sockets', error: 'their descriptors did not come' });
      return false;
    }
    this.#untold = undefined;
    this.#replace('decisions', decisions);
    this.#replace('conns', conns);
    this.#report({ kind: 'host-sockets' });
    return true;
  }

  #replace(socket: HostSocket, by: number): void {
    const fd = this.#fds[socket];
    // Closed here it would still be watched: the supervisor may have it open.
    this.#epoll.remove(fd);
    replaceFd(fd, by);
    this.#isOver[socket] = false;
  }
}
