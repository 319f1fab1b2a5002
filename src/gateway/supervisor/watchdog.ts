/**
 * Decides whether a script host hangs. QuickJS has native operations that its interrupt handler
 * cannot stop, so a host says on a shared page since when it is inside a script, and whoever
 * stays inside is killed. On a starved machine an innocent host stays inside too: it is judged by
 * the processor time it burnt, up to a bound on the clock that holds for everybody.
 */
import { readFileSync } from 'node:fs';

/** How often to look. */
export const WATCHDOG_PERIOD_MS = 25;
/** Longest stay inside a script, whatever was burnt. */
export const WALL_BOUND_MS = 2_000;
/** Unit of `utime` and `stime` in /proc/PID/stat: USER_HZ is 100 on every Linux of today. */
const TICK_MS = 10;

/** What is seen at one look. Times in microseconds of CLOCK_MONOTONIC. */
export interface Look {
  readonly now: number;
  /** 0 while the host is outside of scripts. */
  readonly busySince: number;
}

export type Judgement = 'innocent' | 'cpu' | 'wall';

/** Watches one host process. */
export class Watchdog {
  readonly #cpuMs: () => number;
  #busySince = 0;
  #cpuAtEntry = 0;

  /** @param cpuMs  processor time of the host up to now */
  constructor(cpuMs: () => number) {
    this.#cpuMs = cpuMs;
  }

  /** @param limitMs  stay inside a script after which the processor time is looked at */
  judge({ now, busySince }: Look, limitMs: number): Judgement {
    if (busySince === 0 || busySince !== this.#busySince) {
      this.#busySince = busySince;
      if (busySince !== 0) this.#cpuAtEntry = this.#cpuMs();
      return 'innocent';
    }
    const insideMs = (now - busySince) / 1000;
    if (insideMs > Math.max(WALL_BOUND_MS, limitMs)) return 'wall';
    if (insideMs <= limitMs) return 'innocent';
    return this.#cpuMs() - this.#cpuAtEntry >= limitMs ? 'cpu' : 'innocent';
  }
}

/** Processor time of a process, user and system, in milliseconds; 0 when it is gone. */
export function processCpuMs(pid: number): number {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return 0;
  }
}

/** Fields 14 and 15 of proc_pid_stat(5), counted after the name, which may hold anything. */
export function parseStat(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
