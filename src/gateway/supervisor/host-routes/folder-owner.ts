/** What root writes into the folder of the gateway's user is for that user, too. */
import { fchownSync, fstatSync, statSync } from 'node:fs';

/**
 * Gives a file that was just made to whom its folder belongs, who could replace it anyway. Whoever
 * may not give it away keeps it.
 */
export function giveToOwnerOf(folder: string, fd: number): void {
  const { uid, gid } = statSync(folder);
  if (fstatSync(fd).uid === uid) return;
  try {
    fchownSync(fd, uid, gid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
  }
}
