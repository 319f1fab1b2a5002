/** What a sandbox gets that decides about no flow: tests and the prompt run in one. */
import { NO_GUEST_CONNS } from '../conns/no-conns.ts';
import { TIMER_MS_MAX } from '../limits.ts';
import type { GuestPorts } from '../script/guest.ts';

const US_PER_MS = 1000;

export interface ToolPortsOptions {
  /** Deadlines in microseconds by the id of the timer; whoever owns the sandbox fires them. */
  readonly timers: Map<number, number>;
  readonly timersMax: number;
  /** Microseconds. */
  readonly now: () => number;
  readonly print: (line: string) => void;
}

export const toolPorts = ({ timers, timersMax, now, print }: ToolPortsOptions): GuestPorts => ({
  log: (_level, _flow, message, fields) => print([message, fields].filter(Boolean).join(' ')),
  settle: () => {},
  startTimer: (id, delayMs) => {
    if (timers.size >= timersMax) return false;
    timers.set(id, now() + Math.min(Math.max(delayMs, 0), TIMER_MS_MAX) * US_PER_MS);
    return true;
  },
  stopTimer: (id) => timers.delete(id),
  hit: () => {},
  hookDone: () => {},
  startWait: () => true,
  endWait: () => {},
  conns: NO_GUEST_CONNS,
});
