/** The two sockets to one data plane, and when they are watched. */
import { type Epoll, EpollEvent } from '../../ffi/epoll.ts';
import { raise } from '../../ffi/errors.ts';
import { setNonBlocking } from '../../ffi/sockets.ts';
import type { PlainConnEvents } from '../../scripts-runtime/conns/ports.ts';
import { queueFds } from '../messages/script-control.ts';
import { ConnChannel } from './conn-channel.ts';
import { DecisionChannel } from './decision-channel.ts';
import { QueueIds } from './queue-ids.ts';

/** Of `PlaneLink.handle`: which of the two sockets has something. */
export const LinkSocket = { DECISIONS: 0, CONNS: 1 } as const;
export type LinkSocket = (typeof LinkSocket)[keyof typeof LinkSocket];

export class PlaneLink {
  readonly decisions: DecisionChannel;
  readonly conns: ConnChannel;
  readonly #fds: ReturnType<typeof queueFds>;
  readonly #epoll: Epoll;
  /** Of the socket for decisions; that for conns has the next. */
  readonly #token: number;
  #isWatchingDecisions = false;
  #isBlocked = false;
  #isWatchingConns = false;
  #areConnsBlocked = false;

  constructor(queue: number, queues: number, epoll: Epoll, token: number) {
    const ids = new QueueIds(queue, queues);
    this.#fds = queueFds(queue);
    setNonBlocking(this.#fds.decisions);
    setNonBlocking(this.#fds.conns);
    this.decisions = new DecisionChannel(this.#fds.decisions, ids);
    this.conns = new ConnChannel(this.#fds.conns, ids);
    this.#epoll = epoll;
    this.#token = token;
  }

  set epoch(epoch: number) {
    this.decisions.epoch = epoch;
    this.conns.epoch = epoch;
  }

  /** Begins to read: before, another host may serve this data plane. */
  serve(): void {
    this.#isWatchingDecisions = true;
    this.#watch(this.#fds.decisions, this.#token + LinkSocket.DECISIONS);
    this.#isWatchingConns = true;
    this.#watch(this.#fds.conns, this.#token + LinkSocket.CONNS);
  }

  /** @param now  in microseconds */
  handle(socket: LinkSocket, events: number, conns: PlainConnEvents, now: number): void {
    if (socket === LinkSocket.CONNS) {
      this.#handleConns(events, conns);
      return;
    }
    if ((events & EpollEvent.OUT) !== 0) this.decisions.flush();
    if (!this.decisions.read(now)) {
      this.#isWatchingDecisions = false;
      this.#epoll.remove(this.#fds.decisions);
    }
    // A data plane says that it is a new one before it asks: what its predecessor had ends first.
    if (this.#isWatchingConns) this.#handleConns(EpollEvent.IN, conns);
  }

  /** Waits for room instead of requests while answers wait. */
  updateWatch(): void {
    this.#updateConnsWatch();
    const { isBlocked } = this.decisions;
    if (isBlocked === this.#isBlocked || !this.#isWatchingDecisions) return;
    this.#isBlocked = isBlocked;
    const events = isBlocked ? EpollEvent.OUT : EpollEvent.IN;
    this.#epoll.modify(this.#fds.decisions, events, this.#token + LinkSocket.DECISIONS);
  }

  /** Reading goes on: what comes was asked for. */
  #updateConnsWatch(): void {
    const { isBlocked } = this.conns;
    if (isBlocked === this.#areConnsBlocked || !this.#isWatchingConns) return;
    this.#areConnsBlocked = isBlocked;
    const events = isBlocked ? EpollEvent.IN | EpollEvent.OUT : EpollEvent.IN;
    this.#epoll.modify(this.#fds.conns, events, this.#token + LinkSocket.CONNS);
  }

  #handleConns(events: number, conns: PlainConnEvents): void {
    if ((events & EpollEvent.OUT) !== 0) this.conns.flush();
    if (this.conns.read(conns)) return;
    this.#isWatchingConns = false;
    this.#epoll.remove(this.#fds.conns);
  }

  #watch(fd: number, token: number): void {
    const result = this.#epoll.add(fd, EpollEvent.IN, token);
    if (result < 0) raise(result, 'epoll_ctl', { device: `fd ${fd}` });
  }
}
