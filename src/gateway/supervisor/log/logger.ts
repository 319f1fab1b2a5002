/** Logs: pino lines on standard error, JSON or a short text for eyes. */
import pino, { type Logger } from 'pino';
import { LogSink } from './log-sink.ts';
import type { LogTap } from './log-tap.ts';

export type { Logger };

export interface LogOptions {
  readonly level: string;
  readonly format: 'json' | 'text';
}

export function createLogger(
  options: LogOptions,
  sink = new LogSink(),
  tap?: Pick<LogTap, 'write'>,
): Logger {
  const render = options.format === 'text' ? renderText : (line: string) => line;
  const log = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    {
      write: (line: string) => {
        sink.write(render(line));
        tap?.write(line);
      },
    },
  );
  sink.onDropped = (dropped) => log.warn({ dropped }, 'log-lines-dropped');
  return log;
}

/** `12:00:01.250 INFO  flow  proto=tcp src=10.0.0.1` from a JSON line. */
export function renderText(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const clock = String(time).slice(11, 23);
  const words = Object.entries(fields).map(([name, value]) => `${name}=${renderValue(value)}`);
  const head = `${clock} ${String(level).toUpperCase().padEnd(5)} ${String(msg ?? '')}`;
  return `${escapeControls([head, ...words].join(' '))}\n`;
}

function renderValue(value: unknown): string {
  if (typeof value === 'object') return JSON.stringify(value);
  const text = String(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}

/**
 * A script chooses what its lines say: they must neither start a line of their own nor speak to
 * the terminal. Escaped are C0, DEL, C1, line separators, and marks that turn the direction.
 */
const escapeControls = (text: string): string =>
  text.replace(
    /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
