/** All data planes as one: what is said about a request or a conn goes to the one that has it. */
import type { Epoll } from '../../ffi/epoll.ts';
import type {
  AbortCause,
  ConnDial,
  PlainConnEvents,
  PlainConnPorts,
  SpliceOptions,
} from '../../scripts-runtime/conns/ports.ts';
import type { Decision } from '../../scripts-runtime/decision.ts';
import type { SeenAnswer } from '../messages/seen-answers.ts';
import type { ConnChannel } from './conn-channel.ts';
import type { DecisionHandlers } from './decision-channel.ts';
import { type LinkSocket, PlaneLink } from './plane-link.ts';

const SOCKETS_OF_LINK = 2;

export class PlaneLinks implements PlainConnPorts {
  readonly #links: readonly PlaneLink[];
  readonly #firstToken: number;
  #isServing = false;
  /** Whose requests are taken first, the next time. */
  #first = 0;

  /** @param firstToken  of the epoll: this one and all behind it are theirs */
  constructor(queues: number, epoll: Epoll, firstToken: number) {
    this.#firstToken = firstToken;
    this.#links = Array.from(
      { length: queues },
      (_, queue) => new PlaneLink(queue, queues, epoll, firstToken + SOCKETS_OF_LINK * queue),
    );
  }

  set epoch(epoch: number) {
    for (const link of this.#links) link.epoch = epoch;
  }

  /** Gets what DNS servers answered; valid during the call. */
  set onDnsAnswer(onDnsAnswer: (answer: SeenAnswer) => void) {
    for (const { decisions } of this.#links) decisions.onDnsAnswer = onDnsAnswer;
  }

  /** `work` would find something to do. */
  get hasWork(): boolean {
    return this.#links.some(({ decisions }) => decisions.hasWork);
  }

  /** Begins to read, if that has not happened yet. */
  serve(): void {
    if (this.#isServing) return;
    this.#isServing = true;
    for (const link of this.#links) link.serve();
  }

  handle(token: number, events: number, conns: PlainConnEvents, now: number): void {
    const socket = token - this.#firstToken;
    const link = this.#links[Math.floor(socket / SOCKETS_OF_LINK)];
    link?.handle((socket % SOCKETS_OF_LINK) as LinkSocket, events, conns, now);
  }

  /** Passes on requests that wait, until there is none or `mayGoOn` says no. */
  work(handlers: DecisionHandlers, mayGoOn: () => boolean): void {
    const links = this.#links;
    for (let i = 0; i < links.length; i++) {
      links[(this.#first + i) % links.length]!.decisions.work(handlers, mayGoOn);
      if (!mayGoOn()) break;
    }
    this.#first = (this.#first + 1) % links.length;
  }

  updateWatch(): void {
    for (const link of this.#links) link.updateWatch();
  }

  answer(requestId: number, decision: Decision): void {
    this.#of(requestId).decisions.answer(requestId, decision);
  }

  /** Asks for the datagrams of a UDP flow. */
  show(requestId: number): void {
    this.#of(requestId).decisions.show(requestId);
  }

  get reach(): 'up' | 'starting' {
    return this.#links.every(({ conns }) => conns.reach === 'up') ? 'up' : 'starting';
  }

  /** All data planes in turn. */
  ownConn(index: number): number {
    const links = this.#links;
    return links[index % links.length]!.conns.ownConn(Math.floor(index / links.length));
  }

  want(conn: number, end: number, bytes: number): void {
    this.#conns(conn).want(conn, end, bytes);
  }

  peek(conn: number, end: number, id: number, min: number, max: number, timeoutMs: number): void {
    this.#conns(conn).peek(conn, end, id, min, max, timeoutMs);
  }

  write(conn: number, end: number, bytes: Uint8Array): void {
    this.#conns(conn).write(conn, end, bytes);
  }

  fin(conn: number, end: number): void {
    this.#conns(conn).fin(conn, end);
  }

  abort(conn: number, end: number, why?: AbortCause): void {
    this.#conns(conn).abort(conn, end, why);
  }

  close(conn: number, end: number): void {
    this.#conns(conn).close(conn, end);
  }

  dial(conn: number, socket: number, dial: ConnDial): void {
    this.#conns(conn).dial(conn, socket, dial);
  }

  splice(conn: number, socket: number, options: SpliceOptions): void {
    this.#conns(conn).splice(conn, socket, options);
  }

  #of(id: number): PlaneLink {
    return this.#links[id % this.#links.length]!;
  }

  #conns(conn: number): ConnChannel {
    return this.#of(conn).conns;
  }
}
