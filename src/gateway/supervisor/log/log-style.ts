/** How log lines look: as the config says, from one line to the next. */
import pino from 'pino';
import { realtimeNow } from '../../../ffi/clock.ts';
import { renderLogfmt, renderText } from './line-formats.ts';

export interface LogStyleOptions {
  readonly format: 'json' | 'text' | 'logfmt';
  /** RFC 3339 with nanoseconds, or milliseconds since 1970. */
  readonly time?: 'rfc3339' | 'epoch';
}

const RENDERERS: Readonly<Record<LogStyleOptions['format'], (line: string) => string>> = {
  json: (line) => line,
  text: renderText,
  logfmt: renderLogfmt,
};

export class LogStyle {
  #options: LogStyleOptions;

  constructor(options: LogStyleOptions) {
    this.#options = options;
  }

  configure(options: LogStyleOptions): void {
    this.#options = options;
  }

  /** What is written of a line that pino has made. */
  render(line: string): string {
    return RENDERERS[this.#options.format](line);
  }

  /** The time as pino wants it, a comma in front. */
  timestamp(): string {
    return this.#options.time === 'epoch' ? pino.stdTimeFunctions.epochTime() : rfc3339();
  }
}

/** `,"time":"2026-01-02T03:04:05.678901234Z"` */
function rfc3339(): string {
  const { seconds, nanoseconds } = realtimeNow();
  const second = new Date(seconds * 1000).toISOString().slice(0, -'.000Z'.length);
  return `,"time":"${second}.${String(nanoseconds).padStart(9, '0')}Z"`;
}
