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

/** Of one queue: a socket for decisions, and one for what is said about claimed connections. */
export class HostSockets implements Disposable {
  #decisions = socketPair('seqpacket');
  #conns = socketPair('seqpacket');

  get dataPlane(): HostSocketFds {
    return { decisions: this.#decisions[0], conns: this.#conns[0] };
  }

  get scriptHost(): HostSocketFds {
    return { decisions: this.#decisions[1], conns: this.#conns[1] };
  }

  /** Puts others in their place; children have those before until they are told, or end. */
  renew(): void {
    const before = [...this.#decisions, ...this.#conns];
    this.#decisions = socketPair('seqpacket');
    this.#conns = socketPair('seqpacket');
    for (const fd of before) closeFd(fd);
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
 */
export function replaceHostSockets(
  queues: readonly { readonly hostSockets: HostSockets }[],
  host: Pick<ScriptHost, 'socketShut'>,
): readonly HostSocketFds[] {
  host.socketShut();
  for (const { hostSockets } of queues) hostSockets.renew();
  return queues.map(({ hostSockets }) => hostSockets.dataPlane);
}
