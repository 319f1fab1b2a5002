/**
 * The socket to the script host about claimed connections. It never waits and loses nothing: a
 * message that the socket does not take stays in the one buffer that there is for writing, and as
 * long as it does, nobody may write another (`isReady`).
 */
import { type Epoll, EpollEvent } from '../../../ffi/epoll.ts';
import { Errno } from '../../../ffi/errno.ts';
import { addressOf } from '../../../ffi/memory.ts';
import { receive, send } from '../../../ffi/sockets.ts';
import { Counter, type Counters } from '../../../stack/counters.ts';
import { CONN_BYTES_MAX, CONN_PAYLOAD_AT } from '../../messages/conn.ts';
import { ConnMessage, decodeToDataPlane } from '../../messages/conn-decode.ts';
import { HOST_SOCKET_EVENTS } from '../host-sockets.ts';

/** Messages taken in one turn: a megabyte of bytes for clients at most. */
const BATCH = 64;

export class ConnChannel {
  /** What is sent next is written here, from position 0. */
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** Where the kernel finds the bytes of a message that is written. */
  readonly payloadAddress: number;
  /** The message that `read` hands over; its positions are in these. */
  readonly inView: DataView;
  readonly inBytes: Uint8Array;
  /** The host takes nothing any more. */
  onDeaf: () => void = () => {};
  readonly #fd: number;
  readonly #epoll: Epoll;
  readonly #token: number;
  readonly #counters: Counters;
  readonly #message = new ConnMessage();
  readonly #outAddress: number;
  readonly #inAddress: number;
  /** Length of the message that the socket did not take. */
  #unsent = 0;

  constructor(fd: number, epoll: Epoll, token: number, counters: Counters) {
    // A longer datagram is cut to this, and is known by its length.
    const incoming = new ArrayBuffer(CONN_BYTES_MAX + 1);
    const outgoing = new ArrayBuffer(CONN_BYTES_MAX);
    this.inView = new DataView(incoming);
    this.inBytes = new Uint8Array(incoming);
    this.view = new DataView(outgoing);
    this.bytes = new Uint8Array(outgoing);
    this.#inAddress = addressOf(incoming);
    this.#outAddress = addressOf(outgoing);
    this.payloadAddress = this.#outAddress + CONN_PAYLOAD_AT;
    this.#fd = fd;
    this.#epoll = epoll;
    this.#token = token;
    this.#counters = counters;
    epoll.add(fd, HOST_SOCKET_EVENTS, token);
  }

  /** The descriptor stands for another socket: what waited was for the host before. */
  renew(): void {
    this.#unsent = 0;
    this.#epoll.add(this.#fd, HOST_SOCKET_EVENTS, this.#token);
  }

  /** A message may be written and sent. */
  get isReady(): boolean {
    return this.#unsent === 0;
  }

  /** Sends the message of `length` bytes that was written; it goes, sooner or later. */
  send(length: number): void {
    if (this.#isTaken(length)) return;
    this.#counters.add(Counter.CONN_STALLS);
    this.#unsent = length;
    this.#epoll.modify(this.#fd, EpollEvent.OUT | EpollEvent.RDHUP, this.#token);
  }

  /** The socket may take what waits. */
  flush(): void {
    if (this.#unsent === 0 || !this.#isTaken(this.#unsent)) return;
    this.#unsent = 0;
    this.#epoll.modify(this.#fd, HOST_SOCKET_EVENTS, this.#token);
  }

  /**
   * Takes what has arrived; a message is valid during the call. A host that does not listen is not
   * listened to: what its messages make is kept here until it has heard of it.
   */
  read(onMessage: (message: ConnMessage) => void): void {
    if (!this.isReady) return;
    for (let i = 0; i < BATCH; i++) {
      const got = receive(this.#fd, this.#inAddress, CONN_BYTES_MAX + 1);
      if (got === -Errno.EINTR) continue;
      if (got <= 0) return;
      if (decodeToDataPlane(this.inView, 0, got, this.#message)) onMessage(this.#message);
      else this.#counters.add(Counter.CONN_MESSAGES_REFUSED);
    }
  }

  /**
   * Both ends of the socket are open in the supervisor: there is no failure but a full queue, or a
   * host that has shut its end down. That one hears nothing, and nobody waits for it.
   */
  #isTaken(length: number): boolean {
    for (;;) {
      const sent = send(this.#fd, this.#outAddress, length);
      if (sent === -Errno.EPIPE) this.onDeaf();
      if (sent !== -Errno.EINTR) return sent >= 0 || sent === -Errno.EPIPE;
    }
  }
}
