/**
 * Signals of a gateway. HUP and USR1 reload; TERM and INT drain, the second one ends at once; QUIT
 * ends at once. USR2 is kept for a later hand-over and does nothing, PIPE means nothing.
 */
import { ExitCode } from './exit-code.ts';
import type { Logger } from './log/logger.ts';
import type { Supervisor } from './supervisor.ts';

export interface SignalOptions {
  readonly drainMs: number;
  readonly end: (code: ExitCode) => void;
}

type Target = Pick<Supervisor, 'reloadAsConfigured' | 'drain'>;

export interface Signals {
  /** As a TERM with a deadline of its own; the second one ends at once, too. */
  readonly stop: (drainMs: number) => void;
  /** Removes the handlers. */
  readonly off: () => void;
}

/** Installs the handlers. */
export function onSignals(target: Target, log: Logger, options: SignalOptions): Signals {
  const { end } = options;
  let isDraining = false;
  const stop = (drainMs: number): void => {
    if (isDraining) {
      end(ExitCode.FORCED);
      return;
    }
    isDraining = true;
    void endDrained(target, log, { ...options, drainMs });
  };
  const drain = (signal: NodeJS.Signals): void => {
    log.info({ signal }, 'signal');
    stop(options.drainMs);
  };
  const handlers: readonly (readonly [NodeJS.Signals, (signal: NodeJS.Signals) => void])[] = [
    ['SIGHUP', () => reload(target, log)],
    ['SIGUSR1', () => reload(target, log)],
    ['SIGTERM', drain],
    ['SIGINT', drain],
    ['SIGQUIT', () => end(ExitCode.OK)],
    ['SIGUSR2', () => undefined],
    ['SIGPIPE', () => undefined],
  ];
  for (const [signal, handler] of handlers) process.on(signal, handler);
  const off = (): void => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
  return { stop, off };
}

async function endDrained(
  target: Target,
  log: Logger,
  { drainMs, end }: SignalOptions,
): Promise<void> {
  const cut = await target.drain(drainMs);
  log.info({ cut }, 'drained');
  end(cut === 0 ? ExitCode.OK : ExitCode.DRAIN_CUT);
}

/** On a failure the running version stays, and the log says so. */
function reload(target: Target, log: Logger): void {
  try {
    target.reloadAsConfigured();
  } catch (error) {
    log.error({ err: error }, 'reload-failed');
  }
}
