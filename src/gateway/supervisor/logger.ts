/**
 * Logs: pino lines on standard error, JSON or a short text for eyes. Lines are gathered and
 * written together, because a busy gateway ends thousands of flows a second and this process has
 * other work; a reader that stalls costs lines, which are counted, and never stops the gateway.
 */
import { writeSync } from 'node:fs';
import pino, { type Logger } from 'pino';

export type { Logger };

/** How long a line may wait before it is written. */
const FLUSH_MS = 20;
/** Text that may wait while the reader of standard error stalls, in bytes. */
const BACKLOG_MAX_BYTES = 4 * 1024 * 1024;
const STDERR = 2;

export interface LogOptions {
  readonly level: string;
  readonly format: 'json' | 'text';
}

export function createLogger(options: LogOptions, sink = new LogSink()): Logger {
  const render = options.format === 'text' ? renderText : (line: string) => line;
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => sink.write(render(line)) },
  );
}

/** Writes gathered lines to a file descriptor. */
export class LogSink {
  readonly #fd: number;
  #pending = '';
  #dropped = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(fd = STDERR) {
    this.#fd = fd;
    // Whoever exits without a word still leaves its last lines.
    process.on('exit', () => this.flush());
  }

  write(line: string): void {
    if (this.#pending.length + line.length > BACKLOG_MAX_BYTES) {
      this.#dropped++;
      return;
    }
    this.#pending += line;
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let bytes = Buffer.from(this.#pending);
    this.#pending = '';
    try {
      while (bytes.length > 0) bytes = bytes.subarray(writeSync(this.#fd, bytes));
    } catch (error) {
      // EAGAIN: the reader is slow. Anything else, such as EPIPE: there is no reader.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      this.#pending = bytes.toString();
      this.#timer = setTimeout(() => this.flush(), FLUSH_MS);
      return;
    }
    if (this.#dropped > 0) this.#reportDropped();
  }

  #reportDropped(): void {
    const dropped = this.#dropped;
    this.#dropped = 0;
    const time = new Date().toISOString();
    const msg = 'log-lines-dropped';
    this.write(`${JSON.stringify({ level: 'warn', time, dropped, msg })}\n`);
  }
}

/** `12:00:01.250 INFO  flow  proto=tcp src=10.0.0.1` from a JSON line. */
export function renderText(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const clock = String(time).slice(11, 23);
  const words = Object.entries(fields).map(([name, value]) => `${name}=${renderValue(value)}`);
  const head = `${clock} ${String(level).toUpperCase().padEnd(5)} ${String(msg ?? '')}`;
  return `${[head, ...words].join(' ')}\n`;
}

function renderValue(value: unknown): string {
  if (typeof value === 'object') return JSON.stringify(value);
  const text = String(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}
