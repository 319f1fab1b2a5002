/**
 * The connections of API clients: how many there may be, and for how long one may keep its place
 * without getting on. The gateway's own work is not timed here: a change of scripts may take long.
 */
import type { Socket } from 'node:net';
import { effectiveUid } from '../../../../ffi/process.ts';
import type { Peer } from '../callers.ts';

export interface ConnectionLimits {
  /** Of all clients, those of root and of the gateway's user not counted. */
  readonly connections: number;
  /** Of one uid, or one address. */
  readonly connectionsPerPeer: number;
  /** For a whole request head, from the first moment of a connection. */
  readonly headMs: number;
  /** For the next whole request head on a connection that is kept. */
  readonly keepAliveMs: number;
  /** For a whole request with its body. */
  readonly requestMs: number;
  /** For 64 KiB of an answer to be taken. */
  readonly answerMs: number;
}

export const DEFAULT_LIMITS: ConnectionLimits = {
  connections: 256,
  connectionsPerPeer: 64,
  headMs: 10_000,
  keepAliveMs: 60_000,
  requestMs: 60_000,
  answerMs: 30_000,
};

/** Requests that a client may send ahead of the answers. */
const AHEAD_MAX = 16;

/** One client. */
export class Connection {
  readonly socket: Socket;
  readonly peer: Peer;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ahead = 0;
  #turn: Promise<void> = Promise.resolve();

  constructor(socket: Socket, peer: Peer) {
    this.socket = socket;
    this.peer = peer;
    socket.once('close', () => this.calm());
  }

  /** Ends the connection unless `calm` or another deadline comes first. */
  expect(ms: number): void {
    this.calm();
    if (!this.socket.destroyed) this.#timer = setTimeout(() => this.socket.destroy(), ms);
  }

  /** Nothing is expected of the client now. */
  calm(): void {
    clearTimeout(this.#timer);
  }

  /**
   * Does the work for requests one after the other, also where a client does not wait.
   *
   * @param onError  for work that fails, which ends the connection
   */
  inTurn(work: () => Promise<void>, onError: (error: unknown) => void): void {
    if (this.#ahead >= AHEAD_MAX) {
      this.socket.destroy();
      return;
    }
    this.#ahead++;
    const failed = (error: unknown): void => {
      this.socket.destroy();
      onError(error);
    };
    this.#turn = this.#turn
      .then(work)
      .catch(failed)
      .finally(() => this.#ahead--);
  }
}

export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #ownUid = effectiveUid();
  /** Each with what it is counted as; empty for who is not. */
  readonly #open = new Map<Socket, string>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** A place for a client that came; undefined when there is none for it. */
  admit(socket: Socket, peer: Peer): Connection | undefined {
    const key = this.#keyOf(peer);
    if (key !== '' && !this.#hasRoom(key)) return undefined;
    this.#open.set(socket, key);
    socket.once('close', () => this.#open.delete(socket));
    return new Connection(socket, peer);
  }

  /** Ends all of them. */
  close(): void {
    for (const socket of this.#open.keys()) socket.destroy();
  }

  #hasRoom(key: string): boolean {
    const counted = [...this.#open.values()].filter((one) => one !== '');
    const own = counted.filter((one) => one === key).length;
    return own < this.#limits.connectionsPerPeer && counted.length < this.#limits.connections;
  }

  /** Nobody may keep out those who can end the gateway anyway. */
  #keyOf(peer: Peer): string {
    if (peer.kind === 'tcp') return peer.address.replace(/:\d+$/, '');
    return peer.uid === 0 || peer.uid === this.#ownUid ? '' : `uid ${peer.uid}`;
  }
}
