/**
 * The service manager that started the gateway, as sd_notify(3) has it: it is told when packets are
 * answered, when a reload runs, when the gateway ends, and from time to time that all parts live.
 * Without one, nothing is told to anybody.
 */
import { monotonicNow } from '../../ffi/clock.ts';
import { SystemError } from '../../ffi/errors.ts';
import { sendUnixDatagram } from '../../ffi/unix-datagram.ts';
import type { Logger } from './log/logger.ts';

/** While a part is down it may be back at any moment. */
const UNHEALTHY_PERIOD_MS = 1_000;
/** What the end takes beyond the drain deadline: the last flows are cut, the children end. */
const END_GRACE_MS = 5_000;

export interface ServiceEnvironment {
  readonly [name: string]: string | undefined;
}

export class ServiceManager implements Disposable {
  readonly #socket: string | undefined;
  readonly #watchdogMs: number | undefined;
  readonly #log: Logger;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #reloads = 0;
  #isStopping = false;
  #isLost = false;

  constructor(environment: ServiceEnvironment, log: Logger) {
    this.#log = log;
    this.#socket = environment['NOTIFY_SOCKET'] || undefined;
    this.#watchdogMs = watchdogPeriod(environment);
  }

  /** Packets are answered. From now on, the watchdog is kept calm while `isHealthy`. */
  ready(status: () => string, isHealthy: () => boolean): void {
    this.#notify('READY=1', `MAINPID=${process.pid}`, `STATUS=${status()}`);
    this.#feedWatchdog(status, isHealthy);
  }

  /** A reload begins; it ends when `decided` settles. Reloads may overlap. */
  async reloading(decided: Promise<unknown>, status: () => string): Promise<void> {
    this.#reloads++;
    // systemd compares the time with that of its signal, and waits for ever without it.
    this.#notify('RELOADING=1', `MONOTONIC_USEC=${monotonicNow()}`, 'STATUS=reloading');
    await decided;
    this.#reloads--;
    if (this.#reloads > 0 || this.#isStopping) return;
    this.#notify('READY=1', `STATUS=${status()}`);
  }

  /** The gateway ends within `ms`. */
  stopping(ms: number): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    const extension = (ms + END_GRACE_MS) * 1000;
    this.#notify('STOPPING=1', `EXTEND_TIMEOUT_USEC=${extension}`, 'STATUS=draining');
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #feedWatchdog(status: () => string, isHealthy: () => boolean): void {
    const period = this.#watchdogMs;
    if (period === undefined) return;
    const healthy = isHealthy();
    if (healthy) this.#notify('WATCHDOG=1', ...(this.#isStopping ? [] : [`STATUS=${status()}`]));
    const next = healthy ? period : Math.min(UNHEALTHY_PERIOD_MS, period);
    this.#timer = setTimeout(() => this.#feedWatchdog(status, isHealthy), next);
  }

  #notify(...assignments: readonly string[]): void {
    if (this.#socket === undefined) return;
    try {
      sendUnixDatagram(this.#socket, assignments.map(oneLine).join('\n'));
      this.#isLost = false;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      // The gateway serves whether somebody listens or not.
      if (!this.#isLost) this.#log.warn({ err: error }, 'service-manager-lost');
      this.#isLost = true;
    }
  }
}

/** Half of what the manager waits for; undefined when it does not, or waits for another process. */
function watchdogPeriod(environment: ServiceEnvironment): number | undefined {
  const micros = Number(environment['WATCHDOG_USEC'] ?? 0);
  const pid = environment['WATCHDOG_PID'];
  if (!(micros > 0) || (pid !== undefined && Number(pid) !== process.pid)) return undefined;
  return micros / 2 / 1000;
}

/** A line ends an assignment. */
const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, ' ');
