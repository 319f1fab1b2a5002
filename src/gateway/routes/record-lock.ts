/** One process at a time changes routes and their record: the gateway, or `culvert route`. */
import { closeSync, constants, existsSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { tryLock } from '../../ffi/file-lock.ts';
import { explained, StartError } from '../supervisor/start-error.ts';
import { giveToOwnerOf } from './folder-owner.ts';
import type { RouteRecord } from './record.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR } = constants;
const OWNER_ONLY = 0o600;
/** A change is a few dozen system calls: who waits longer waits for a process that hangs. */
const WAIT_MS = 1_000;
const LOOK_MS = 20;

/**
 * Holds the lock until it is disposed of. The file stays: one that is removed while another process
 * waits for it would be two locks.
 *
 * @param isMade       the folder is made where there is none; without it there is nothing to lock
 * @throws StartError  `ROUTES_LOCKED`, or what keeps the file from being opened
 */
export function lockRecord(record: RouteRecord, isMade: boolean): Disposable {
  const folder = dirname(record.file);
  const isThere = existsSync(folder);
  if (!isMade && !isThere) return { [Symbol.dispose]: () => {} };
  const fd = explained(record.lockFile, () => {
    if (!isThere) mkdirSync(folder, { recursive: true });
    return openLock(record.lockFile, folder);
  });
  try {
    const deadline = performance.now() + WAIT_MS;
    while (!tryLock(fd)) {
      if (performance.now() > deadline) {
        const why = 'another culvert is changing the routes of this device, and does not get on';
        throw new StartError('ROUTES_LOCKED', `${record.lockFile}: ${why}`);
      }
      Bun.sleepSync(LOOK_MS);
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return { [Symbol.dispose]: () => closeSync(fd) };
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
