/** How a gateway ends: who asks first has it drained, who asks again has it stop at once. */
import { ExitCode } from './exit-code.ts';
import type { Logger } from './log/logger.ts';

export interface EndingOptions {
  readonly log: Logger;
  /** Takes no new flow and settles with the number of flows that had to be cut. */
  readonly drain: (deadlineMs: number) => Promise<number>;
  readonly drainMs: () => number;
  /** The end has begun, and takes so long at most. */
  readonly onEnding: (ms: number) => void;
  /** Called again when somebody asks while the end takes its time: FORCED then. */
  readonly end: (code: ExitCode) => void;
}

export class Ending {
  readonly #options: EndingOptions;
  #isDraining = false;

  constructor(options: EndingOptions) {
    this.#options = options;
  }

  /**
   * @param reason      for the log, such as the name of a signal
   * @param deadlineMs  how long live flows may take; as configured
   */
  request(reason: Readonly<Record<string, unknown>>, deadlineMs = this.#options.drainMs()): void {
    this.#options.log.info(reason, 'signal');
    if (this.#isDraining) this.#options.end(ExitCode.FORCED);
    else void this.#drain(deadlineMs);
  }

  /** Without a drain. */
  now(): void {
    this.#options.onEnding(0);
    this.#options.end(ExitCode.OK);
  }

  async #drain(deadlineMs: number): Promise<void> {
    this.#isDraining = true;
    const { log, drain, onEnding, end } = this.#options;
    onEnding(deadlineMs);
    const cut = await drain(deadlineMs);
    log.info({ cut }, 'drained');
    end(cut === 0 ? ExitCode.OK : ExitCode.DRAIN_CUT);
  }
}
