/**
 * Claimed connections, as the data plane carries them: `PlainConnPorts` of the script host over the
 * conn channel (messages/conn.ts). Nothing here waits. What the socket does not take is kept in its
 * order, and is bounded by what an end may have on its way: CONN_WINDOW_BYTES, and few messages
 * without bytes. What comes is bounded by what was wanted, so it is read while the socket is full.
 */
import { Errno } from '../../ffi/errno.ts';
import { raise } from '../../ffi/errors.ts';
import { allocateStruct } from '../../ffi/memory.ts';
import { receive, send } from '../../ffi/sockets.ts';
import type {
  AbortCause,
  ConnDial,
  DialFailure,
  PlainConnEvents,
  PlainConnPorts,
  SpliceOptions,
} from '../../scripts-runtime/conns/ports.ts';
import { CLOSE_REASON_NAMES, CloseReason } from '../../stack/close-reason.ts';
import type { Endpoint } from '../../stack/verdict.ts';
import {
  CONN_BYTES_MAX,
  CONN_PAYLOAD_AT,
  ConnKind,
  DialResult,
  FIRST_OWN_CONN,
  isEpochOfHost,
  PeekedFlag,
} from '../messages/conn.ts';
import { ConnMessage, decodeToHost, endpointAt } from '../messages/conn-decode.ts';
import {
  encodeBytes,
  encodeCredit,
  encodeDial,
  encodePeek,
  encodeSignal,
  encodeSplice,
} from '../messages/conn-encode.ts';
import type { QueueIds } from './queue-ids.ts';

/** Datagrams taken per wake-up, so that the supervisor is heard: a MiB of bytes. */
const DATAGRAMS_PER_READ = 64;

const OWN_CONNS = 2 ** 32 - FIRST_OWN_CONN;

const FAILURES: ReadonlyMap<number, DialFailure> = new Map([
  [DialResult.REFUSED, 'refused'],
  [DialResult.UNREACHABLE, 'unreachable'],
  [DialResult.TIMEOUT, 'timeout'],
  [DialResult.LOOP, 'loop'],
  [DialResult.LIMIT, 'limit'],
  [DialResult.FAILED, 'failed'],
]);

const ABORT_REASONS: Readonly<Record<AbortCause, CloseReason>> = {
  limit: CloseReason.LIMIT,
  reload: CloseReason.RELOADED,
};

export class ConnChannel implements PlainConnPorts {
  /** Of this host, as in requests for decisions; what is for another is not for us. */
  epoch = 0;
  readonly #fd: number;
  readonly #ids: QueueIds;
  readonly #in = allocateStruct(CONN_BYTES_MAX);
  readonly #out = allocateStruct(CONN_BYTES_MAX);
  readonly #message = new ConnMessage();
  /** With the data plane's half: what all its conns have; 0 before it was heard of. */
  #connEpoch = 0;
  /** Messages that the socket did not take, oldest first; the first `#sent` of them are gone. */
  #unsent: Uint8Array[] = [];
  #sent = 0;

  constructor(fd: number, ids: QueueIds) {
    this.#fd = fd;
    this.#ids = ids;
  }

  get reach(): 'up' | 'starting' {
    return this.#connEpoch === 0 ? 'starting' : 'up';
  }

  /** A number for a conn without a client: another for each index. */
  ownConn(index: number): number {
    return this.#ids.fromQueue(FIRST_OWN_CONN + (index % OWN_CONNS));
  }

  /** The socket is full: `flush` when it is writable. */
  get isBlocked(): boolean {
    return this.#unsent.length > 0;
  }

  /**
   * Hands on what has arrived.
   *
   * @returns false at the end: the data plane's side is gone
   */
  read(events: PlainConnEvents): boolean {
    for (let i = 0; i < DATAGRAMS_PER_READ; i++) {
      const length = receive(this.#fd, this.#in.address, CONN_BYTES_MAX);
      if (length === -Errno.EAGAIN) return true;
      if (length === -Errno.EINTR) continue;
      if (length === 0 || length === -Errno.ECONNRESET) {
        events.lost(this.#ids.isOfQueue);
        return false;
      }
      if (length < 0) raise(length, 'recv', { device: 'the data plane' });
      this.#receive(length, events);
    }
    return true;
  }

  /** Sends what waited; call it when the socket is writable. */
  flush(): void {
    for (; this.#sent < this.#unsent.length; this.#sent++) {
      const message = this.#unsent[this.#sent] as Uint8Array;
      this.#out.bytes.set(message);
      if (!this.#isTaken(message.length)) return;
    }
    this.#unsent = [];
    this.#sent = 0;
  }

  want(conn: number, end: number, bytes: number): void {
    const { view } = this.#out;
    this.#send(
      encodeCredit(view, 0, ConnKind.WANT, this.#ids.toQueue(conn), this.#connEpoch, end, bytes),
    );
  }

  peek(conn: number, end: number, id: number, min: number, max: number, timeoutMs: number): void {
    const { view } = this.#out;
    this.#send(
      encodePeek(view, 0, this.#ids.toQueue(conn), this.#connEpoch, end, id, min, max, timeoutMs),
    );
  }

  write(conn: number, end: number, bytes: Uint8Array): void {
    const { view } = this.#out;
    this.#out.bytes.set(bytes, CONN_PAYLOAD_AT);
    this.#send(
      encodeBytes(
        view,
        0,
        ConnKind.WRITE,
        this.#ids.toQueue(conn),
        this.#connEpoch,
        end,
        bytes.length,
      ),
    );
  }

  fin(conn: number, end: number): void {
    this.#signal(ConnKind.FIN, conn, end);
  }

  abort(conn: number, end: number, why?: AbortCause): void {
    this.#signal(ConnKind.ABORT, conn, end, why === undefined ? 0 : ABORT_REASONS[why]);
  }

  close(conn: number, end: number): void {
    this.#signal(ConnKind.CLOSE, conn, end);
  }

  dial(conn: number, socket: number, { into, ...dial }: ConnDial): void {
    const request = { ...dial, isIntoDevice: into === 'tun' };
    this.#send(
      encodeDial(this.#out.view, 0, this.#ids.toQueue(conn), this.#connEpoch, socket, request),
    );
  }

  splice(conn: number, socket: number, options: SpliceOptions): void {
    const { idleTimeoutMs, halfCloseTimeoutMs, maxBytes } = options;
    const { view } = this.#out;
    const times = [idleTimeoutMs, halfCloseTimeoutMs] as const;
    this.#send(
      encodeSplice(view, 0, this.#ids.toQueue(conn), this.#connEpoch, socket, ...times, maxBytes),
    );
  }

  #signal(
    kind: typeof ConnKind.FIN | typeof ConnKind.ABORT | typeof ConnKind.CLOSE,
    conn: number,
    end: number,
    reason = 0,
  ): void {
    const id = this.#ids.toQueue(conn);
    this.#send(encodeSignal(this.#out.view, 0, kind, id, this.#connEpoch, end, reason));
  }

  /** Sends the message of `length` bytes that was written, now or in its turn. */
  #send(length: number): void {
    if (!this.isBlocked && this.#isTaken(length)) return;
    this.#unsent.push(this.#out.bytes.slice(0, length));
  }

  /** False when the socket is full. What is for a data plane that is gone counts as sent. */
  #isTaken(length: number): boolean {
    const result = send(this.#fd, this.#out.address, length);
    if (result >= 0 || result === -Errno.EPIPE || result === -Errno.ECONNRESET) return true;
    if (result === -Errno.EAGAIN) return false;
    return raise(result, 'send', { device: 'the data plane' });
  }

  #receive(length: number, events: PlainConnEvents): void {
    const message = this.#message;
    if (!decodeToHost(this.#in.view, 0, length, message)) {
      throw new Error(`malformed message of ${length} bytes about a connection`);
    }
    if (!isEpochOfHost(message.epoch, this.epoch)) return;
    if (message.epoch !== this.#connEpoch) {
      // Another data plane: what its predecessor had is gone, and what it was told of that too.
      const isFirst = this.#connEpoch === 0;
      this.#connEpoch = message.epoch;
      this.#unsent = [];
      this.#sent = 0;
      if (!isFirst) events.lost(this.#ids.isOfQueue);
      events.started();
    }
    this.#handOn(message, events);
  }

  #handOn(message: ConnMessage, events: PlainConnEvents): void {
    const { end } = message;
    const conn = this.#ids.fromQueue(message.conn);
    const requestId = this.#ids.fromQueue(message.requestId);
    switch (message.kind) {
      case ConnKind.OPENED:
        events.opened({ conn, requestId });
        break;
      case ConnKind.PEEKED:
        events.peeked(conn, end, message.peek, {
          bytes: this.#payload(message),
          isFin: (message.detail & PeekedFlag.FIN) !== 0,
          isTimedOut: (message.detail & PeekedFlag.TIMED_OUT) !== 0,
        });
        break;
      case ConnKind.DATA:
        events.data(conn, end, this.#payload(message));
        break;
      case ConnKind.FIN:
        events.fin(conn, end);
        break;
      case ConnKind.ROOM:
        events.room(conn, end, message.bytes);
        break;
      case ConnKind.DIALED:
        this.#dialed(conn, message, events);
        break;
      case ConnKind.CLOSED: {
        const { bytesUp, bytesDown } = message;
        const reason = CLOSE_REASON_NAMES[message.detail] ?? 'unknown';
        events.closed(conn, end, { reason, bytesUp, bytesDown, requestId });
        break;
      }
    }
  }

  #dialed(conn: number, message: ConnMessage, events: PlainConnEvents): void {
    const { end, detail } = message;
    const failure = FAILURES.get(detail);
    if (failure !== undefined) {
      events.dialed(conn, end, failure);
      return;
    }
    const remote = this.#endpoint(message.addressAt, message.family, message.port);
    const local = this.#endpoint(message.localAt, message.localFamily, message.localPort);
    events.dialed(conn, end, 'ok', remote, local);
  }

  #endpoint(at: number, family: number, port: number): Endpoint | undefined {
    return family === 0 ? undefined : endpointAt(this.#in.view, at, family, port);
  }

  /** Valid until the next message is read. */
  #payload({ payloadAt, payloadLength }: ConnMessage): Uint8Array {
    return this.#in.bytes.subarray(payloadAt, payloadAt + payloadLength);
  }
}
