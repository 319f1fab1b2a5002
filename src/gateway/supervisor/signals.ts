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

/** Installs the handlers; the result removes them. */
export function onSignals(target: Target, log: Logger, options: SignalOptions): () => void {
  const { end } = options;
  let isDraining = false;
  const drain = (signal: NodeJS.Signals): void => {
    log.info({ signal }, 'signal');
    if (isDraining) {
      end(ExitCode.FORCED);
      return;
    }
    isDraining = true;
    void endDrained(target, log, options);
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
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
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
