/**
 * Requests from the data plane, and the answers to them. What has arrived is taken at once and
 * waits here, so that its age is known, and so that a request that is cancelled meanwhile is never
 * asked.
 */
import { DatagramBatch } from '../../ffi/datagram-batch.ts';
import { Errno } from '../../ffi/errno.ts';
import { raise } from '../../ffi/errors.ts';
import { allocateStruct } from '../../ffi/memory.ts';
import { send } from '../../ffi/sockets.ts';
import type { Decision } from '../../scripts-runtime/decision.ts';
import type { ConnectionRequest } from '../../stack/verdict.ts';
import {
  DatagramKind,
  DECISION_BYTES_MAX,
  datagramKind,
  decodeDecisionRequest,
  encodeDecisionAnswer,
  epochOf,
  requestIdOf,
} from '../messages/decision.ts';
import { decodeSeenAnswer, type SeenAnswer } from '../messages/seen-answers.ts';
import { decodeShown, encodeShow } from '../messages/shown-datagrams.ts';
import type { QueueIds } from './queue-ids.ts';

/** Datagrams taken with one call, and calls per wake-up: the supervisor is heard in a flood. */
const BATCH = 16;
const BATCHES_MAX = 16;

/** More stay in the socket, until the data plane cannot write any more. */
const QUEUE_MAX = 4096;

/** What waits for its turn, in the order in which it arrived. */
interface Arrival {
  readonly requestId: number;
  /** Microseconds. */
  readonly at: number;
  /** Neither: the request is cancelled. */
  readonly request?: ConnectionRequest;
  readonly datagram?: Uint8Array;
}

export interface DecisionHandlers {
  /** @param arrivedAt  in microseconds */
  onRequest(requestId: number, request: ConnectionRequest, arrivedAt: number): void;
  onCancel(requestId: number): void;
  /** One of those that `show` asked for. */
  onShown(requestId: number, datagram: Uint8Array): void;
}

export class DecisionChannel {
  /** Told of answers at once: they are known before the requests that came behind them. */
  onDnsAnswer: (answer: SeenAnswer) => void = () => {};
  /** Of the data plane's requests to this host; others are not for us. */
  epoch = 0;
  readonly #fd: number;
  readonly #ids: QueueIds;
  readonly #in = allocateStruct(BATCH * DECISION_BYTES_MAX);
  readonly #batch = new DatagramBatch(BATCH);
  readonly #out = allocateStruct(DECISION_BYTES_MAX);
  /** Answers that the socket did not take. While there are some, no request is read. */
  #unsent: Uint8Array[] = [];
  /**
   * Oldest first, the first `#taken` of them done with. No Map: see scripts-runtime/renewed-map.ts.
   */
  readonly #arrivals: Arrival[] = [];
  #taken = 0;

  constructor(fd: number, ids: QueueIds) {
    this.#fd = fd;
    this.#ids = ids;
    for (let i = 0; i < BATCH; i++) {
      this.#batch.set(i, this.#in.address + i * DECISION_BYTES_MAX, DECISION_BYTES_MAX);
    }
  }

  /** The socket is full: wait until it is writable, and `flush`. */
  get isBlocked(): boolean {
    return this.#unsent.length > 0;
  }

  /** `work` would find something to do. */
  get hasWork(): boolean {
    return this.#waiting > 0 && !this.isBlocked;
  }

  get #waiting(): number {
    return this.#arrivals.length - this.#taken;
  }

  /**
   * Takes what has arrived at `now`, in microseconds.
   *
   * @returns false at the end: the data plane is gone
   */
  read(now: number): boolean {
    for (let calls = 0; calls < BATCHES_MAX && this.#waiting < QUEUE_MAX; calls++) {
      const got = this.#batch.receive(this.#fd, BATCH);
      if (got === -Errno.EAGAIN) return true;
      if (got === -Errno.EINTR) continue;
      if (got === -Errno.ECONNRESET) return false;
      if (got < 0) raise(got, 'recvmmsg', { device: 'the data plane' });
      for (let i = 0; i < got; i++) {
        const length = this.#batch.length(i);
        // The end is a datagram without a byte; all others have some.
        if (length === 0) return false;
        this.#enqueue(i * DECISION_BYTES_MAX, length, now);
      }
      // Fewer than there is room for are all that there were: another call would say so.
      if (got < BATCH) return true;
    }
    return true;
  }

  /** Passes on what waits, until there is nothing or `mayGoOn` says no. */
  work(handlers: DecisionHandlers, mayGoOn: () => boolean): void {
    while (this.hasWork) {
      const { requestId, request, datagram, at } = this.#take();
      if (request !== undefined) handlers.onRequest(requestId, request, at);
      else if (datagram !== undefined) handlers.onShown(requestId, datagram);
      else handlers.onCancel(requestId);
      if (!mayGoOn()) return;
    }
  }

  answer(requestId: number, decision: Decision): void {
    const id = this.#ids.toQueue(requestId);
    this.#post(encodeDecisionAnswer(this.#out.view, 0, id, this.epoch, decision));
  }

  /** Asks for the datagrams of a UDP flow. */
  show(requestId: number): void {
    this.#post(encodeShow(this.#out.view, 0, this.#ids.toQueue(requestId), this.epoch));
  }

  /** Sends what has been written, now or when there is room. */
  #post(length: number): void {
    if (!this.isBlocked && this.#send(this.#out.address, length)) return;
    this.#unsent.push(this.#out.bytes.slice(0, length));
  }

  /** Sends what waited; call it when the socket is writable. */
  flush(): void {
    const waiting = this.#unsent;
    let sent = 0;
    for (const answer of waiting) {
      this.#out.bytes.set(answer);
      if (!this.#send(this.#out.address, answer.length)) break;
      sent++;
    }
    this.#unsent = waiting.slice(sent);
  }

  /** The datagram that lies at `from` of what has come in. */
  #enqueue(from: number, length: number, now: number): void {
    const { view } = this.#in;
    const kind = datagramKind(view, from, length);
    if (kind === 0 || epochOf(view, from) !== this.epoch) return;
    if (kind === DatagramKind.DNS_ANSWER) {
      const answer = decodeSeenAnswer(view, from, length);
      if (answer !== undefined) this.onDnsAnswer(answer);
      return;
    }
    const requestId = this.#ids.fromQueue(requestIdOf(view, from));
    if (kind === DatagramKind.CANCEL) {
      // What was not asked yet needs nothing else.
      if (!this.#forget(requestId)) this.#arrivals.push({ requestId, at: now });
      return;
    }
    if (kind === DatagramKind.SHOWN) {
      this.#arrivals.push({ requestId, at: now, datagram: decodeShown(view, from, length) });
      return;
    }
    const request = decodeDecisionRequest(view, from, length);
    if (request === undefined) throw new Error(`malformed request of ${length} bytes`);
    this.#arrivals.push({ requestId, at: now, request });
  }

  #take(): Arrival {
    const arrival = this.#arrivals[this.#taken];
    if (arrival === undefined) throw new Error('nothing has arrived');
    this.#taken += 1;
    if (this.#waiting === 0) {
      this.#arrivals.length = 0;
      this.#taken = 0;
    } else if (this.#taken > QUEUE_MAX) {
      this.#arrivals.splice(0, this.#taken);
      this.#taken = 0;
    }
    return arrival;
  }

  /** @returns false when it does not wait any more */
  #forget(requestId: number): boolean {
    const found = this.#arrivals.findIndex(
      ({ request, requestId: id }, i) =>
        i >= this.#taken && id === requestId && request !== undefined,
    );
    if (found === -1) return false;
    this.#arrivals.splice(found, 1);
    return true;
  }

  /** False when the socket is full. An answer to a data plane that is gone counts as sent. */
  #send(address: number, length: number): boolean {
    const result = send(this.#fd, address, length);
    if (result >= 0 || result === -Errno.EPIPE || result === -Errno.ECONNRESET) return true;
    if (result === -Errno.EAGAIN) return false;
    return raise(result, 'send', { device: 'the data plane' });
  }
}
