import {
  dieWithParent,
  dropPrivileges,
  effectiveUid,
  hasNoNewPrivileges,
  leaveSignalsToParent,
  limitResources,
  restartConfined,
} from '../../ffi/process.ts';

/** `nobody` and `nogroup`, or `nobody` again, of every distribution. */
const NOBODY = 65_534;

/** Standard streams, the two sockets, an epoll, and what the bundler opens while it works. */
const OPEN_FILES = 128;

/**
 * Threads of `nobody` on the whole machine, of other services too: far above what they and some
 * hosts have, far below what brings a machine down. Whoever started us as somebody else has
 * threads of their own under that name, and is not limited.
 */
const NOBODY_THREADS = 2048;

/** Last argument of a process that was started over. */
const RESTARTED = 'confined';

/**
 * Starts the process over without the way back to privileges, unless that has happened. First of
 * all calls: what is opened or loaded before it is lost.
 *
 * @param fds  descriptors that were inherited, besides the standard streams
 */
export function restartWithoutPrivileges(fds: readonly number[]): void {
  leaveSignalsToParent();
  if (process.argv.at(-1) !== RESTARTED) restartConfined(RESTARTED, fds);
  if (!hasNoNewPrivileges()) throw new Error('this sub-command is for the supervisor to start');
}

/**
 * Gives up what a process that runs code of strangers must not have; after
 * `restartWithoutPrivileges`, and when all of our own code is loaded, because `nobody` may not be
 * able to read it. The size of its memory is not limited here: JavaScriptCore reserves address
 * space by the tens of GiB, so that is for QuickJS's own limit.
 */
export function confine(): void {
  const parent = process.ppid;
  const isRoot = effectiveUid() === 0;
  process.chdir('/');
  dropPrivileges({ uid: NOBODY, gid: NOBODY });
  limitResources({
    openFiles: OPEN_FILES,
    coreBytes: 0,
    ...(isRoot ? { processes: NOBODY_THREADS } : {}),
  });
  dieWithParent();
  // Whoever died before the line above will not be noticed by it.
  if (process.ppid !== parent) process.exit(1);
}
