/** Text of server-sent events for one client, which takes it as fast as it can. */

/** So that nobody on the way takes the silence for an end, and a client that is gone is noticed. */
export const KEEPALIVE_MS = 15_000;

export interface EventStreamPorts {
  /** What has happened since the last call; empty when that is nothing. */
  read(): string;
  onClosed(): void;
}

export class EventStream {
  readonly #ports: EventStreamPorts;
  /** A comment, for who has heard nothing for a while. */
  readonly #keepalive: string;
  #isClosed = false;
  #wake: ((hasNews: boolean) => void) | undefined;

  constructor(keepalive: string, ports: EventStreamPorts) {
    this.#keepalive = keepalive;
    this.#ports = ports;
  }

  /**
   * What has happened since, as soon as there is something; a comment when there is nothing for a
   * while; undefined at the end. Not while another call waits.
   */
  async next(keepaliveMs: number): Promise<string | undefined> {
    for (;;) {
      if (this.#isClosed) return undefined;
      const text = this.#ports.read();
      if (text !== '') return text;
      if (!(await this.#news(keepaliveMs))) return this.#isClosed ? undefined : this.#keepalive;
    }
  }

  /** There may be something new. */
  wake(): void {
    this.#wake?.(true);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#wake?.(false);
    this.#ports.onClosed();
  }

  #news(keepaliveMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), keepaliveMs);
    this.#wake = resolve;
    return promise.finally(() => {
      clearTimeout(timer);
      this.#wake = undefined;
    });
  }
}
