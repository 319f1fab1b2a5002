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

type Taken = Extract<FromDataPlane, { kind: 'host-sockets' }>;

export interface HostSocketHandoverOptions {
  /** Its other end is HANDOVER in the data plane. */
  readonly socket: number;
  readonly send: (message: ToDataPlane) => void;
  /** A socket that is in use has ended. */
  readonly onShut: (socket: HostSocket) => void;
  /** The data plane does not get the others, and another one has to. */
  readonly onFailed: (why: string) => void;
}

export class HostSocketHandover {
  readonly #options: HostSocketHandoverOptions;
  /** For a process that is not ready. */
  #waiting: HostSocketFds | undefined;
  #isReady = false;
  /** Handovers that the process has not answered: until then it may speak of sockets before. */
  #unanswered = 0;
  #nextNumber = FIRST_NUMBER;

  constructor(options: HostSocketHandoverOptions) {
    this.#options = options;
  }

  /** A new process has inherited the sockets in use. */
  started(): void {
    this.#waiting = undefined;
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
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      onFailed(error.message);
    }
  }

  answered({ error }: Taken): void {
    this.#unanswered -= 1;
    if (error !== undefined) this.#options.onFailed(error);
  }

  /** The data plane has seen the end of a socket; of one that is replaced already, if it waits. */
  shut(socket: HostSocket): void {
    if (this.#unanswered === 0 && this.#waiting === undefined) this.#options.onShut(socket);
  }

  /** @throws SystemError */
  #pass(fd: number): number {
    const number = this.#nextNumber;
    sendDescriptor(this.#options.socket, fd, number);
    this.#nextNumber = (number + 1) % NUMBERS || FIRST_NUMBER;
    return number;
  }
}
