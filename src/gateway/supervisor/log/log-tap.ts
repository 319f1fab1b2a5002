/** The log for those who listen over the API, besides where it is written. */
import { TooManyReadersError } from '../flows/flow-events.ts';

/** Each has every line parsed. */
const READERS_MAX = 16;
/** A reader that is slow loses lines, and not the gateway its memory. */
const WAITING_MAX = 256;

export class LogTap {
  readonly #readers = new Set<LogReader>();

  /** @param line  JSON, as pino writes it */
  write(line: string): void {
    for (const reader of this.#readers) reader.take(line);
  }

  /** @throws TooManyReadersError */
  listen(): LogReader {
    if (this.#readers.size >= READERS_MAX) throw new TooManyReadersError();
    const reader = new LogReader(() => this.#readers.delete(reader));
    this.#readers.add(reader);
    return reader;
  }
}

export class LogReader {
  readonly #onClosed: () => void;
  readonly #waiting: string[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;

  constructor(onClosed: () => void) {
    this.#onClosed = onClosed;
  }

  /** Lines since the last call, at least one; undefined at the end. */
  async next(): Promise<string[] | undefined> {
    if (this.#waiting.length === 0 && !this.#isClosed) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    return this.#isClosed ? undefined : this.#waiting.splice(0);
  }

  take(line: string): void {
    if (this.#waiting.length < WAITING_MAX) this.#waiting.push(line);
    this.#wake?.();
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
    this.#onClosed();
  }
}
