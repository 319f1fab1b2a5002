/** Requests from the data plane, and the answers to them. */
import { Errno } from '../../ffi/errno.ts';
import { raise } from '../../ffi/errors.ts';
import { allocateStruct } from '../../ffi/memory.ts';
import { receive, send } from '../../ffi/sockets.ts';
import type { Decision } from '../../scripts-runtime/decide.ts';
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

/** Requests taken per wake-up, so that the supervisor is heard in a flood. */
const REQUESTS_PER_READ = 256;

export interface DecisionHandlers {
  onRequest(requestId: number, request: ConnectionRequest): void;
  onCancel(requestId: number): void;
}

export class DecisionChannel {
  /** Of the data plane's requests to this host; others are not for us. */
  epoch = 0;
  readonly #fd: number;
  readonly #in = allocateStruct(DECISION_BYTES_MAX);
  readonly #out = allocateStruct(DECISION_BYTES_MAX);
  /** Answers that the socket did not take. While there are some, no request is read. */
  #unsent: Uint8Array[] = [];

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** The socket is full: wait until it is writable, and `flush`. */
  get isBlocked(): boolean {
    return this.#unsent.length > 0;
  }

  /**
   * Takes what has arrived.
   *
   * @returns false at the end: the data plane is gone
   */
  read(handlers: DecisionHandlers): boolean {
    for (let i = 0; i < REQUESTS_PER_READ && !this.isBlocked; i++) {
      const length = receive(this.#fd, this.#in.address, DECISION_BYTES_MAX);
      if (length === -Errno.EAGAIN) return true;
      if (length === -Errno.EINTR) continue;
      if (length === 0 || length === -Errno.ECONNRESET) return false;
      if (length < 0) raise(length, 'recv', { device: 'the data plane' });
      this.#dispatch(length, handlers);
    }
    return true;
  }

  answer(requestId: number, decision: Decision): void {
    const length = encodeDecisionAnswer(this.#out.view, 0, requestId, this.epoch, decision);
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

  #dispatch(length: number, { onRequest, onCancel }: DecisionHandlers): void {
    const { view } = this.#in;
    const kind = datagramKind(view, 0, length);
    if (kind === 0 || epochOf(view, 0) !== this.epoch) return;
    const requestId = requestIdOf(view, 0);
    if (kind === DatagramKind.CANCEL) {
      onCancel(requestId);
      return;
    }
    const request = decodeDecisionRequest(view, 0, length);
    if (request === undefined) throw new Error(`malformed request of ${length} bytes`);
    onRequest(requestId, request);
  }

  /** False when the socket is full. An answer to a data plane that is gone counts as sent. */
  #send(address: number, length: number): boolean {
    const result = send(this.#fd, address, length);
    if (result >= 0 || result === -Errno.EPIPE || result === -Errno.ECONNRESET) return true;
    if (result === -Errno.EAGAIN) return false;
    return raise(result, 'send', { device: 'the data plane' });
  }
}
