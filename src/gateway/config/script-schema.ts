/** The scripts of a config: which they are, what each may do, and what all may use. */
import { basename, extname } from 'node:path';
import { z } from 'zod';
import { cronFault } from '../../scripts-runtime/schedule/cron.ts';
import { ON_ERROR_ACTIONS } from '../../stack/verdict.ts';
import type { ScheduleEntry } from '../messages/script-control.ts';
import { reload } from './reload-schema.ts';
import { duration, objectName, sizeBetween } from './values.ts';

/** Name of a script. */
export const scriptName = objectName;

/** Absent: the default of the runtime. */
const upTo = (most: number) => z.int().min(1).max(most).optional();

/** In a minute everybody has noticed that a script hangs. */
const SCRIPT_MS_MAX = 60_000;
const HOUR_MS = 3_600_000;

/**
 * What a script may use; each absent value is the default of the runtime. The bounds are what the
 * engine needs to start, what its WebAssembly memory can hold, and what a timer can count.
 */
const limits = z.strictObject({
  cpuSoftMs: upTo(SCRIPT_MS_MAX),
  cpuHardMs: upTo(SCRIPT_MS_MAX),
  watchdogMs: upTo(SCRIPT_MS_MAX),
  wallMs: upTo(HOUR_MS),
  memoryBytes: sizeBetween('1MiB', '1GiB').optional(),
  stackBytes: sizeBetween('64KiB', '1MiB').optional(),
  pending: upTo(1_000_000),
  timers: upTo(1_000_000),
  kvBytes: sizeBetween('0B', '64MiB').optional(),
  kvKeyBytes: sizeBetween('1B', '64KiB').optional(),
  kvValueBytes: sizeBetween('1B', '1MiB').optional(),
  logLinesPerSecond: upTo(1_000_000),
  metrics: z.int().min(0).max(100).optional(),
  metricSeries: upTo(200),
  loadMs: upTo(SCRIPT_MS_MAX),
  waits: upTo(1_000_000),
  waitMs: upTo(HOUR_MS),
  stateBytes: sizeBetween('0B', '1MiB').optional(),
  breakerHits: upTo(1_000_000),
  breakerWindowMs: upTo(24 * HOUR_MS),
  claims: upTo(1_000_000),
  connCpuMs: upTo(HOUR_MS),
  socketsPerFlow: z.int().min(0).max(4).optional(),
  socketsOutside: z.int().min(0).max(256).optional(),
  dials: upTo(1_000_000),
  peekBytes: sizeBetween('1B', '16KiB').optional(),
  sniffMs: z.int().min(0).max(HOUR_MS).optional(),
});

/** A name of 253 characters, brackets and a range of ports. */
const ALLOWED_LENGTH = 300;
/** As many as an operator can oversee; a script hears of them one after the other. */
const SCHEDULE_MAX = 64;
/** More is a flow of its own. */
const EVERY_MS_MIN = 1_000;
/** Below the 2^31 ms of a timer. */
const EVERY_MS_MAX = 24 * HOUR_MS;

const scheduleEntry = z
  .strictObject({
    every: duration(EVERY_MS_MIN, EVERY_MS_MAX).optional(),
    cron: z.string().min(1).optional(),
  })
  .transform(({ every, cron }, context): ScheduleEntry => {
    if (every !== undefined && cron === undefined) return { everyMs: every };
    const isCron = cron !== undefined && every === undefined;
    const fault = isCron ? cronFault(cron) : 'expected either "every" or "cron"';
    if (isCron && fault === undefined) return { cron };
    context.addIssue({ code: 'custom', message: fault ?? '' });
    return z.NEVER;
  });

/** What a script is given beside its text. */
const settings = {
  /** Where `connect()` may go: `10.0.0.0/8:443`, `*.corp.example:*`. */
  allow: z.array(z.string().min(1).max(ALLOWED_LENGTH)).optional(),
  /** When `scheduled` is called, by the name that it is told. */
  schedule: z
    .record(objectName, scheduleEntry)
    .refine((entries) => Object.keys(entries).length <= SCHEDULE_MAX, {
      message: `at most ${SCHEDULE_MAX} times`,
    })
    .optional(),
};
export const scriptSettings = z.strictObject(settings);
export type ScriptSettings = z.output<typeof scriptSettings>;

const loadEntry = z
  .union([
    z.string().min(1),
    z.strictObject({ file: z.string().min(1), name: objectName.optional(), ...settings }),
  ])
  .transform((entry) => (typeof entry === 'string' ? { file: entry } : entry))
  .transform(({ name, file, ...rest }, context) => {
    const chosen = name ?? basename(file, extname(file));
    if (name === undefined && !objectName.safeParse(chosen).success) {
      const message = `"${chosen}" cannot be the name of a script: give it a "name"`;
      context.addIssue({ code: 'custom', message });
    }
    return { ...rest, name: chosen, file };
  });

/** Networks and addresses, or names of hosts. */
export const setType = z.enum(['cidr', 'domain']);

export const scripts = z
  .strictObject({
    load: z
      .array(loadEntry)
      .refine((list) => new Set(list.map((item) => item.name)).size === list.length, {
        message: 'two scripts have the same name',
      })
      .optional(),
    files: z.string().min(1).optional(),
    /** Folder below which scripts may import files, besides their own folders. */
    root: z.string().min(1).optional(),
    vars: z.record(z.string(), z.string()).prefault({}),
    /** Files of one entry a line, for `env.sets`. */
    sets: z
      .record(objectName, z.strictObject({ type: setType, file: z.string().min(1) }))
      .prefault({}),
    limits: limits.prefault({}),
    onError: z.enum(ON_ERROR_ACTIONS).default('reject'),
    /** Of TLS that scripts speak: a file of authorities in PEM, besides the usual ones. */
    tls: z.strictObject({ ca: z.string().min(1).optional() }).prefault({}),
    reload: reload.prefault({}),
  })
  .refine((value) => value.load === undefined || value.files === undefined, {
    message: '"load" and "files" exclude each other',
  });
