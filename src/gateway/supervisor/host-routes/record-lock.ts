/** One process at a time changes routes and their record: the gateway, or `culvert route`. */
import { closeSync, constants, existsSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { tryLock } from '../../../ffi/file-lock.ts';
import { explained, StartError } from '../start-error.ts';
import { giveToOwnerOf } from './folder-owner.ts';
import type { RouteRecord } from './record.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR } = constants;
const OWNER_ONLY = 0o600;
/** A change is a few dozen system calls: who waits longer waits for a process that hangs. */
const WAIT_MS = 1_000;
const LOOK_MS = 20;

/**
 * Holds the lock until it is disposed of; waits for it with the whole process, as a command may.
 *
 * @param isMade       the folder is made where there is none; without it there is nothing to lock
 * @throws StartError  `ROUTES_LOCKED`, or what keeps the file from being opened
 */
export function lockRecord(record: RouteRecord, isMade: boolean, waitMs = WAIT_MS): Disposable {
  const lock = new RecordLock(record, isMade, waitMs);
  while (!lock.isTaken()) Bun.sleepSync(LOOK_MS);
  return lock;
}

/**
 * Does the work with the lock held; meanwhile the process goes on.
 *
 * @throws StartError  as `lockRecord`
 */
export async function whileLocked<Result>(
  record: RouteRecord,
  isMade: boolean,
  work: () => Result,
): Promise<Result> {
  using lock = new RecordLock(record, isMade, WAIT_MS);
  while (!lock.isTaken()) await Bun.sleep(LOOK_MS);
  return work();
}

/** The file stays: one that is removed while another process waits for it would be two locks. */
class RecordLock implements Disposable {
  readonly #file: string;
  readonly #deadline: number;
  /** Undefined where there is nothing to lock. */
  #fd: number | undefined;

  constructor(record: RouteRecord, isMade: boolean, waitMs: number) {
    this.#file = record.lockFile;
    this.#deadline = performance.now() + waitMs;
    const folder = dirname(record.file);
    const isThere = existsSync(folder);
    if (!isMade && !isThere) return;
    this.#fd = explained(this.#file, () => {
      if (!isThere) mkdirSync(folder, { recursive: true });
      return openLock(this.#file, folder);
    });
  }

  /** Tries once. @throws StartError  `ROUTES_LOCKED` when the time is over; it is closed then */
  isTaken(): boolean {
    try {
      if (this.#fd === undefined || tryLock(this.#fd)) return true;
      if (performance.now() < this.#deadline) return false;
      const why = 'another culvert is changing the routes of this device, and does not get on';
      throw new StartError('ROUTES_LOCKED', `${this.#file}: ${why}`);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** Never through a link: the folder may be that of the gateway's user, and this process root. */
function openLock(file: string, folder: string): number {
  try {
    const fd = openSync(file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, OWNER_ONLY);
    giveToOwnerOf(folder, fd);
    return fd;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return openSync(file, O_RDWR | O_NOFOLLOW);
  }
}
