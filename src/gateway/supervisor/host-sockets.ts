/**
 * The sockets between data planes and script hosts. The supervisor keeps both ends of each open, so
 * that a child which is replaced finds the same socket. Only a host that somebody has taken over
 * shuts one down, and that is for good: then all of them are made anew.
 */
import { closeFd, socketPair } from '../../ffi/sockets.ts';
import type { HostSocket } from '../messages/control.ts';
import type { ScriptHost } from './scripts/script-host.ts';

/** The same end of both sockets of a queue. */
export type HostSocketFds = Readonly<Record<HostSocket, number>>;

type Pair = readonly [dataPlane: number, scriptHost: number];

/** Of one queue: a socket for decisions, and one for what is said about claimed connections. */
export class HostSockets implements Disposable {
  #decisions: Pair;
  #conns: Pair;

  /** @throws SystemError  `EMFILE`; none is open then */
  constructor() {
    using made = new DisposableStack();
    this.#decisions = openPair(made);
    this.#conns = openPair(made);
    made.move();
  }

  get dataPlane(): HostSocketFds {
    return { decisions: this.#decisions[0], conns: this.#conns[0] };
  }

  get scriptHost(): HostSocketFds {
    return { decisions: this.#decisions[1], conns: this.#conns[1] };
  }

  /** Each has those of the other; children have those before until they are told, or end. */
  exchange(other: HostSockets): void {
    [this.#decisions, other.#decisions] = [other.#decisions, this.#decisions];
    [this.#conns, other.#conns] = [other.#conns, this.#conns];
  }

  [Symbol.dispose](): void {
    for (const fd of [...this.#decisions, ...this.#conns]) closeFd(fd);
  }
}

/**
 * A host has shut one down: ends the hosts, and makes others for those to come. Flows that live
 * notice nothing.
 *
 * @returns the ends of the data planes, by queue
 * @throws SystemError  `EMFILE`; all is as it was
 */
export function replaceHostSockets(
  queues: readonly { readonly hostSockets: HostSockets }[],
  host: Pick<ScriptHost, 'socketShut'>,
): readonly HostSocketFds[] {
  using others = new DisposableStack();
  const made = queues.map(() => others.use(new HostSockets()));
  host.socketShut();
  return queues.map(({ hostSockets }, index) => {
    hostSockets.exchange(made[index]!);
    return hostSockets.dataPlane;
  });
}

/** Closed with `owner`. @throws SystemError */
function openPair(owner: DisposableStack): Pair {
  const pair = socketPair('seqpacket');
  owner.defer(() => {
    for (const fd of pair) closeFd(fd);
  });
  return pair;
}
