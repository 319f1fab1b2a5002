/**
 * Changes of the device: netlink tells them at once while the device is in our namespace, and a
 * look every second finds them everywhere. What is reported is the difference of two states, so
 * nothing is reported twice. Where the kernel refuses to tell, for want of descriptors or memory,
 * the device is taken to be as it was, and asked for again.
 */
import { LinkListener } from '../../../ffi/link-listener.ts';
import type { Link } from '../../../ffi/link-message.ts';
import type { TunDevice } from '../../../ffi/tun-device.ts';
import { type DeviceState, lookAtDevice, stateOf } from './device-state.ts';

/** How long a change in another namespace may go unseen. */
const LOOK_PERIOD_MS = 1_000;
/** After messages were lost. */
const LISTEN_AGAIN_MS = 100;

export interface DeviceWatchHandlers {
  onChange(state: DeviceState, before: DeviceState): void;
  /** The interface was deleted; nothing comes after that. */
  onGone(before: DeviceState): void;
  /** It could not be looked at, or listened to, with this error. */
  onTrouble(error: ErrnoError, isFirst: boolean): void;
  /** Both work again. */
  onTroubleOver(): void;
}

/** An error of the kernel, ours or one of Node: `EMFILE`. */
export type ErrnoError = Error & { readonly code: string };

/** How it is done; tests have their own. */
export interface DeviceWatchPorts {
  readonly look: typeof lookAtDevice;
  readonly listen: (...handlers: ConstructorParameters<typeof LinkListener>) => Disposable;
  readonly periodMs: number;
}

const KERNEL: DeviceWatchPorts = {
  look: lookAtDevice,
  listen: (handlers) => new LinkListener(handlers),
  periodMs: LOOK_PERIOD_MS,
};

export class DeviceWatch implements Disposable {
  readonly #tun: TunDevice;
  readonly #handlers: DeviceWatchHandlers;
  readonly #ports: DeviceWatchPorts;
  readonly #timer: ReturnType<typeof setInterval>;
  /** What does not work now. */
  readonly #trouble = new Set<'look' | 'listen'>();
  #listener: Disposable | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #state: DeviceState;
  #hasEnded = false;

  /** @param state  what is known already: the first difference to it is reported */
  constructor(
    tun: TunDevice,
    state: DeviceState,
    handlers: DeviceWatchHandlers,
    ports: DeviceWatchPorts = KERNEL,
  ) {
    this.#tun = tun;
    this.#state = state;
    this.#handlers = handlers;
    this.#ports = ports;
    this.#timer = setInterval(() => this.#turn(), ports.periodMs);
    this.#listen();
  }

  get state(): DeviceState {
    return this.#state;
  }

  /** Looks now, for whoever has noticed something. */
  look(): void {
    if (this.#hasEnded) return;
    const found = this.#attempt('look', () => ({ state: this.#ports.look(this.#tun) }));
    if (found === undefined) return;
    if (found.state !== undefined) {
      this.#take(found.state);
      return;
    }
    this[Symbol.dispose]();
    this.#handlers.onGone(this.#state);
  }

  [Symbol.dispose](): void {
    this.#hasEnded = true;
    clearInterval(this.#timer);
    clearTimeout(this.#again);
    this.#listener?.[Symbol.dispose]();
  }

  #turn(): void {
    if (this.#listener === undefined) this.#listen();
    this.look();
  }

  #listen(): void {
    this.#listener = this.#attempt('listen', () =>
      this.#ports.listen({
        onLink: (link, isDeleted) => this.#onLink(link, isDeleted),
        onLost: () => {
          this.#listener = undefined;
          this.#again = setTimeout(() => this.#turn(), LISTEN_AGAIN_MS);
        },
      }),
    );
  }

  /** @returns undefined when the kernel refuses it, which is tried again with the next turn */
  #attempt<Result>(what: 'look' | 'listen', work: () => Result): Result | undefined {
    const trouble = this.#trouble;
    try {
      const result = work();
      if (trouble.delete(what) && trouble.size === 0) this.#handlers.onTroubleOver();
      return result;
    } catch (error) {
      if (!isErrno(error)) throw error;
      this.#handlers.onTrouble(error, trouble.size === 0);
      trouble.add(what);
      return undefined;
    }
  }

  #onLink(link: Link, isDeleted: boolean): void {
    if (this.#hasEnded) return;
    if (!this.#state.isHere) {
      // It may have come back.
      if (link.name === this.#state.name) this.look();
      return;
    }
    if (link.index !== this.#state.index) return;
    // Deleted here is what the kernel says of a device that was moved, too.
    if (isDeleted) this.look();
    else this.#take(stateOf(link, true));
  }

  #take(state: DeviceState): void {
    const before = this.#state;
    if (Bun.deepEquals(before, state)) return;
    this.#state = state;
    this.#handlers.onChange(state, before);
  }
}

const isErrno = (error: unknown): error is ErrnoError =>
  error instanceof Error && 'code' in error && /^E[A-Z0-9]+$/.test(String(error.code));
