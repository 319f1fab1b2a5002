/** How a bundle of scripts takes over from the one before: `scripts.reload`. */
import { z } from 'zod';
import { duration } from './values.ts';

const HOUR_MS = 3_600_000;
/** Below the 2^31 ms of a timer. */
const DAY_MS = 24 * HOUR_MS;
/** What a script host remembers; each is asked for twice in a check. */
const REPLAY_MAX = 1000;

const percent = z.number().min(0).max(100);

export const reload = z.strictObject({
  /** When the bundle that ran last is started with, instead of what the config names. */
  lastGood: z.enum(['never', 'on-failure', 'always']).default('never'),
  /** Reload when the config changes on disk, or a file that it names. */
  watch: z.boolean().default(false),
  /** Flows of late that old and new scripts are asked about, in a check. */
  replay: z.int().min(0).max(REPLAY_MAX).default(200),
  /** How long claimed connections may stay with scripts that were replaced. */
  drain: duration(0, DAY_MS).prefault('10m'),
  canary: z
    .strictObject({
      /** Of new flows, in percent; 0: a bundle takes over at once. */
      share: percent.default(0),
      /** Then the bundle takes over; 0: when it is told to. */
      for: duration(0, DAY_MS).prefault('5m'),
      /** Of its decisions within the window, in percent, may fail. */
      errors: percent.default(5),
      window: duration(100, HOUR_MS).prefault('10s'),
    })
    .prefault({}),
});
export type ReloadConfig = z.output<typeof reload>;
