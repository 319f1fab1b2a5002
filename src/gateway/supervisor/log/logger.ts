/** Logs: pino lines on standard error, as JSON, logfmt, or a short text for eyes. */
import pino, { type Logger } from 'pino';
import { realtimeNow } from '../../../ffi/clock.ts';
import { renderLogfmt, renderText } from './line-formats.ts';
import { LogSink } from './log-sink.ts';
import type { LogTap } from './log-tap.ts';
import { RepeatLimit } from './repeat-limit.ts';

export type { Logger };

export interface LogOptions {
  readonly level: string;
  readonly format: 'json' | 'text' | 'logfmt';
  /** RFC 3339 with nanoseconds, or milliseconds since 1970. */
  readonly time?: 'rfc3339' | 'epoch';
}

const RENDERERS: Readonly<Record<LogOptions['format'], (line: string) => string>> = {
  json: (line) => line,
  text: renderText,
  logfmt: renderLogfmt,
};

/** Event of the lines that say how many were left out; never left out itself. */
const REPEATED = 'log-lines-repeated';
const WARN = 40;

export function createLogger(
  options: LogOptions,
  sink = new LogSink(),
  tap?: Pick<LogTap, 'write'>,
): Logger {
  const { level, format, time = 'rfc3339' } = options;
  const render = RENDERERS[format];
  const limit = new RepeatLimit((of, dropped) => log.warn({ of, dropped }, 'log-lines-repeated'));
  const log = pino(
    {
      level,
      base: null,
      timestamp: time === 'epoch' ? pino.stdTimeFunctions.epochTime : rfc3339,
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        logMethod(args, method, levelValue) {
          const event = String(args.length > 1 ? args[1] : args[0]);
          if (levelValue >= WARN && !isExempt(args[0], event) && !limit.passes(event)) return;
          method.apply(this, args);
        },
      },
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

/** What scripts say has a limit of its own, per script. */
const isExempt = (fields: unknown, event: string): boolean =>
  event === REPEATED || (fields as { readonly event?: unknown } | null)?.event === 'script';

/** `,"time":"2026-01-02T03:04:05.678901234Z"` */
function rfc3339(): string {
  const { seconds, nanoseconds } = realtimeNow();
  const second = new Date(seconds * 1000).toISOString().slice(0, -'.000Z'.length);
  return `,"time":"${second}.${String(nanoseconds).padStart(9, '0')}Z"`;
}
