/**
 * Hands a data plane that runs other sockets to the script host. One that only starts gets them
 * when it is ready; whichever starts later inherits them.
 */
import { SystemError } from '../../ffi/errors.ts';
import { sendDescriptor } from '../../ffi/fd-passing.ts';
import type { FromDataPlane, HostSocket, ToDataPlane } from '../messages/control.ts';
import type { HostSocketFds } from './host-sockets.ts';

/** Devices go over the same socket, and their numbers count from 1. */
const FIRST_NUMBER = 0x8000_0000;
const NUMBERS = 0x1_0000_0000;
/** The data plane answers in its next turn; an answer that is lost never comes. */
const ANSWER_TIMEOUT_MS = 5_000;

type Taken = Extract<FromDataPlane, { kind: 'host-sockets' }>;

export interface HostSocketHandoverOptions {
  /** Its other end is HANDOVER in the data plane. */
  readonly socket: number;
  readonly send: (message: ToDataPlane) => void;
  /** A socket that is in use has ended. */
  readonly onShut: (socket: HostSocket) => void;
  /** The data plane does not get the others, and another one has to. */
  readonly onFailed: (why: string) => void;
  /** How long it may take to answer. */
  readonly answerTimeoutMs?: number | undefined;
}

export class HostSocketHandover {
  readonly #options: HostSocketHandoverOptions;
  /** For a process that is not ready. */
  #waiting: HostSocketFds | undefined;
  #isReady = false;
  /** Handovers that the process has not answered: until then it may speak of sockets before. */
  #unanswered = 0;
  #timeout: ReturnType<typeof setTimeout> | undefined;
  #nextNumber = FIRST_NUMBER;

  constructor(options: HostSocketHandoverOptions) {
    this.#options = options;
  }

  /** A new process has inherited the sockets in use. */
  started(): void {
    this.#waiting = undefined;
    this.ended();
  }

  /** Of a process that is no more nothing is awaited. */
  ended(): void {
    clearTimeout(this.#timeout);
    this.#isReady = false;
    this.#unanswered = 0;
  }

  ready(): void {
    this.#isReady = true;
    const sockets = this.#waiting;
    this.#waiting = undefined;
    if (sockets !== undefined) this.pass(sockets);
  }

  pass(sockets: HostSocketFds): void {
    if (!this.#isReady) {
      this.#waiting = sockets;
      return;
    }
    const { send, onFailed } = this.#options;
    try {
      const decisions = this.#pass(sockets.decisions);
      const conns = this.#pass(sockets.conns);
      this.#unanswered += 1;
      send({ kind: 'host-sockets', decisions, conns });
      this.#awaitAnswer();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      onFailed(error.message);
    }
  }

  answered({ error }: Taken): void {
    this.#unanswered -= 1;
    if (this.#unanswered === 0) clearTimeout(this.#timeout);
    if (error !== undefined) this.#options.onFailed(error);
  }

  /** The data plane has seen the end of a socket; of one that is replaced already, if it waits. */
  shut(socket: HostSocket): void {
    if (this.#unanswered === 0 && this.#waiting === undefined) this.#options.onShut(socket);
  }

  #awaitAnswer(): void {
    const { onFailed, answerTimeoutMs = ANSWER_TIMEOUT_MS } = this.#options;
    clearTimeout(this.#timeout);
    const why = 'it does not answer whether it has the sockets to the scripts';
    this.#timeout = setTimeout(() => onFailed(why), answerTimeoutMs);
  }

  /** @throws SystemError */
  #pass(fd: number): number {
    const number = this.#nextNumber;
    sendDescriptor(this.#options.socket, fd, number);
    this.#nextNumber = (number + 1) % NUMBERS || FIRST_NUMBER;
    return number;
  }
}
