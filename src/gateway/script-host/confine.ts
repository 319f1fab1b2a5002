import { dieWithParent, dropPrivileges, limitResources } from '../../ffi/process.ts';

/** `nobody` and `nogroup`, or `nobody` again, of every distribution. */
const NOBODY = 65_534;

/** Standard streams, the two sockets, an epoll, and what the bundler opens while it works. */
const OPEN_FILES = 128;

/**
 * Gives up what a process that runs code of strangers must not have. The size of its memory is
 * not limited here: JavaScriptCore reserves address space by the tens of GiB, so that is for
 * QuickJS's own limit.
 */
export function confine(): void {
  const parent = process.ppid;
  process.chdir('/');
  dropPrivileges({ uid: NOBODY, gid: NOBODY });
  limitResources({ openFiles: OPEN_FILES, coreBytes: 0 });
  dieWithParent();
  // Whoever died before the line above will not be noticed by it.
  if (process.ppid !== parent) process.exit(1);
}
