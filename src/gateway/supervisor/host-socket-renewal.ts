/** Makes new sockets when a script host has shut one, and later when there are none to have. */
import { SystemError } from '../../ffi/errors.ts';
import { CrashPolicy } from './backoff.ts';
import type { HostSocketFds } from './host-sockets.ts';
import type { Logger } from './log/logger.ts';

export interface HostSocketRenewalOptions {
  readonly log: Logger;
  /** Ends of the data planes, by queue. @throws SystemError  all is as it was */
  readonly make: () => readonly HostSocketFds[];
  readonly pass: (sockets: readonly HostSocketFds[]) => void;
}

export class HostSocketRenewal implements Disposable {
  readonly #options: HostSocketRenewalOptions;
  readonly #failures = new CrashPolicy();
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(options: HostSocketRenewalOptions) {
    this.#options = options;
  }

  /** Now, or as soon as it can be done: descriptors may have run out. */
  run(): void {
    clearTimeout(this.#again);
    const sockets = this.#made();
    if (sockets !== undefined) this.#options.pass(sockets);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#again);
  }

  #made(): readonly HostSocketFds[] | undefined {
    const { log, make } = this.#options;
    try {
      return make();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      const delayMs = this.#failures.crashed(performance.now());
      log.error({ why: error.message, again_in_ms: delayMs }, 'script-socket-not-made');
      this.#again = setTimeout(() => this.run(), delayMs);
      return undefined;
    }
  }
}
