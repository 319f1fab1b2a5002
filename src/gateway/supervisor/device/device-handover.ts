/** Hands the descriptor of a device to the data plane, and waits until it is used. */
import { SystemError } from '../../../ffi/errors.ts';
import { sendDescriptor } from '../../../ffi/fd-passing.ts';
import type { DeviceFacts, ToDataPlane } from '../../messages/control.ts';
import { SwapError } from './device-keeper.ts';

/** The loop of the data plane turns in microseconds. */
const ANSWER_TIMEOUT_MS = 5_000;

export class DeviceHandover {
  readonly #socket: number;
  readonly #send: (message: ToDataPlane) => void;
  readonly #answerTimeoutMs: number;
  #nextId = 1;
  #waiting: { readonly id: number; readonly settle: (error?: string) => void } | undefined;

  #releasing: (() => void) | undefined;

  /** @param socket  its other end is HANDOVER there */
  constructor(
    socket: number,
    send: (message: ToDataPlane) => void,
    answerTimeoutMs = ANSWER_TIMEOUT_MS,
  ) {
    this.#socket = socket;
    this.#send = send;
    this.#answerTimeoutMs = answerTimeoutMs;
  }

  /** One at a time. @throws SwapError  the data plane has not taken it */
  async pass(fd: number, device: DeviceFacts): Promise<void> {
    const id = this.#nextId++;
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const tooLate = () => resolve('the data plane does not answer');
    const timer = setTimeout(tooLate, this.#answerTimeoutMs);
    this.#waiting = { id, settle: resolve };
    try {
      sendDescriptor(this.#socket, fd, id);
      this.#send({ kind: 'device', id, device });
      const error = await promise;
      if (error !== undefined) throw new SwapError('DATA_PLANE_NOT_READY', error);
    } catch (cause) {
      if (!(cause instanceof SystemError)) throw cause;
      throw new SwapError('DATA_PLANE_NOT_READY', cause.message, { cause });
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  /** Has the data plane close the device before; settles also when it does not answer. */
  async release(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#answerTimeoutMs);
    this.#releasing = resolve;
    this.#send({ kind: 'device-release' });
    await promise;
    clearTimeout(timer);
    this.#releasing = undefined;
  }

  released(): void {
    this.#releasing?.();
  }

  /** @returns false when nobody waits any more: the data plane uses a device that was given up */
  answered(id: number, error: string | undefined): boolean {
    if (this.#waiting?.id !== id) return error !== undefined;
    this.#waiting.settle(error);
    return true;
  }

  /** The data plane has ended; the next one ignores what was passed to it. */
  lost(): void {
    this.#waiting?.settle('the data plane has ended meanwhile');
    this.#releasing?.();
  }
}
