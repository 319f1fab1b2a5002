/** When the `scheduled` hook of a script is due. */
import type { ScheduleEntry } from '../bundle/bundle.ts';
import { Cron } from './cron.ts';

/** What `scheduled` is told. */
export interface ScheduledEvent {
  readonly name: string;
  /** When it was due, in milliseconds since 1970. */
  readonly at: number;
}

interface Entry {
  readonly name: string;
  readonly next: (afterMs: number) => number;
  at: number;
}

export class Schedule {
  readonly #entries: readonly Entry[];

  /** @param nowMs  milliseconds since 1970 */
  constructor(entries: Readonly<Record<string, ScheduleEntry>>, nowMs: number) {
    this.#entries = Object.entries(entries).map(([name, entry]) => {
      const next = nextOf(entry);
      return { name, next, at: next(nowMs) };
    });
  }

  /** Milliseconds since 1970; Infinity for never. */
  get nextAt(): number {
    return this.#entries.reduce((next, { at }) => Math.min(next, at), Number.POSITIVE_INFINITY);
  }

  /** What is due, once each, however late it is. */
  take(nowMs: number): ScheduledEvent[] {
    const due: ScheduledEvent[] = [];
    for (const entry of this.#entries) {
      if (entry.at > nowMs) continue;
      due.push({ name: entry.name, at: entry.at });
      entry.at = entry.next(nowMs);
    }
    return due;
  }
}

/** A period begins at its multiples since 1970: a reload does not put it off. */
function nextOf(entry: ScheduleEntry): (afterMs: number) => number {
  if ('everyMs' in entry) {
    const { everyMs } = entry;
    return (afterMs) => (Math.floor(afterMs / everyMs) + 1) * everyMs;
  }
  const cron = new Cron(entry.cron);
  return (afterMs) => cron.next(afterMs);
}
