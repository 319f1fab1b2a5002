/**
 * Changes of the device: netlink tells them at once while the device is in our namespace, and a
 * look every second finds them everywhere. What is reported is the difference of two states, so
 * nothing is reported twice.
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
}

export class DeviceWatch implements Disposable {
  readonly #tun: TunDevice;
  readonly #handlers: DeviceWatchHandlers;
  readonly #timer: ReturnType<typeof setInterval>;
  #listener: LinkListener | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #state: DeviceState;
  #hasEnded = false;

  /** @param state  what is known already: the first difference to it is reported */
  constructor(tun: TunDevice, state: DeviceState, handlers: DeviceWatchHandlers) {
    this.#tun = tun;
    this.#state = state;
    this.#handlers = handlers;
    this.#timer = setInterval(() => this.look(), LOOK_PERIOD_MS);
    this.#listen();
  }

  get state(): DeviceState {
    return this.#state;
  }

  /** Looks now, for whoever has noticed something. */
  look(): void {
    if (this.#hasEnded) return;
    const state = lookAtDevice(this.#tun);
    if (state !== undefined) {
      this.#take(state);
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

  #listen(): void {
    this.#listener = new LinkListener({
      onLink: (link, isDeleted) => this.#onLink(link, isDeleted),
      onLost: () => {
        this.#again = setTimeout(() => {
          this.#listen();
          this.look();
        }, LISTEN_AGAIN_MS);
      },
    });
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
