/**
 * Signals of a gateway. HUP and USR1 reload; TERM and INT drain, the second one ends at once; QUIT
 * ends at once. USR2 is kept for a later hand-over and does nothing, PIPE means nothing.
 */
import type { Ending } from './ending.ts';
import type { Logger } from './log/logger.ts';
import type { Supervisor } from './supervisor.ts';

type Target = Pick<Supervisor, 'reloadAsConfigured'>;

/** Installs the handlers; the result removes them. */
export function onSignals(
  target: Target,
  log: Logger,
  ending: Pick<Ending, 'request' | 'now'>,
): () => void {
  const end = (signal: NodeJS.Signals) => ending.request({ signal });
  const handlers: readonly (readonly [NodeJS.Signals, (signal: NodeJS.Signals) => void])[] = [
    ['SIGHUP', () => reload(target, log)],
    ['SIGUSR1', () => reload(target, log)],
    ['SIGTERM', end],
    ['SIGINT', end],
    ['SIGQUIT', () => ending.now()],
    ['SIGUSR2', () => undefined],
    ['SIGPIPE', () => undefined],
  ];
  for (const [signal, handler] of handlers) process.on(signal, handler);
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
}

/** On a failure the running version stays, and the log says so. */
function reload(target: Target, log: Logger): void {
  try {
    target.reloadAsConfigured();
  } catch (error) {
    log.error({ err: error }, 'reload-failed');
  }
}
