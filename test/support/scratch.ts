/**
 * Things with a name in the system that end-to-end tests leave behind when they are killed, or
 * keep until the end: `bun test` runs no exit handler, so the next run takes them away. The name
 * of each carries the process that made it: `cvt-PID-…`.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The start of every name that this process gives. */
export const SCRATCH_PREFIX = `cvt-${process.pid}-`;

let swept = false;

/** A new folder for this process. */
export function scratchFolder(what: string): string {
  if (!swept) {
    for (const name of readdirSync(tmpdir()).filter(isAbandoned)) {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    }
    swept = true;
  }
  return mkdtempSync(join(tmpdir(), `${SCRATCH_PREFIX}${what}-`));
}

/** The name was given by a process that is gone. */
export function isAbandoned(name: string): boolean {
  const pid = Number(/^cvt-(\d+)-/.exec(name)?.[1] ?? Number.NaN);
  return !Number.isNaN(pid) && !isAlive(pid);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives, and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
