/** Calls `scheduled` of the active scripts when it is due, but not again before it is over. */

import type { Script } from '../script/script.ts';
import { Schedule } from './schedule.ts';

interface Row {
  readonly script: Script;
  readonly schedule: Schedule;
  /** Names of the calls that wait for a promise. */
  readonly running: Set<string>;
}

export class Timetable {
  #rows: readonly Row[] = [];

  /** Milliseconds since 1970; Infinity for never. */
  get nextAt(): number {
    return this.#rows.reduce(
      (next, { schedule }) => Math.min(next, schedule.nextAt),
      Number.POSITIVE_INFINITY,
    );
  }

  /** @param nowMs  milliseconds since 1970 */
  set(scripts: readonly Script[], nowMs: number): void {
    this.#rows = scripts.flatMap((script) => {
      const entries = script.schedule;
      if (entries === undefined || !script.hooks.has('scheduled')) return [];
      return { script, schedule: new Schedule(entries, nowMs), running: new Set<string>() };
    });
  }

  run(nowMs: number): void {
    for (const { script, schedule, running } of this.#rows) {
      if (schedule.nextAt > nowMs) continue;
      for (const event of schedule.take(nowMs)) {
        if (running.has(event.name)) continue;
        running.add(event.name);
        script.hooks.scheduled(event, () => running.delete(event.name));
      }
    }
  }
}
