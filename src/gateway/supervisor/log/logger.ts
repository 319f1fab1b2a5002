/** Logs: pino lines on standard error, as JSON, logfmt, or a short text for eyes. */
import pino, { type Logger } from 'pino';
import { LogSink } from './log-sink.ts';
import { LogStyle, type LogStyleOptions } from './log-style.ts';
import type { LogTap } from './log-tap.ts';
import { RepeatLimit } from './repeat-limit.ts';

export type { Logger };

export interface LogOptions extends LogStyleOptions {
  readonly level: string;
}

/** Event of the lines that say how many were left out; never left out itself. */
const REPEATED = 'log-lines-repeated';
const WARN = 40;

export function createLogger(
  options: LogOptions,
  sink = new LogSink(),
  tap?: Pick<LogTap, 'write'>,
  style = new LogStyle(options),
): Logger {
  const { level } = options;
  const limit = new RepeatLimit((of, dropped) => log.warn({ of, dropped }, 'log-lines-repeated'));
  const log = pino(
    {
      level,
      base: null,
      timestamp: () => style.timestamp(),
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
        sink.write(style.render(line));
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
