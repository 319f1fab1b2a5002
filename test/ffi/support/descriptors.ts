import { readdirSync, readlinkSync } from 'node:fs';

/**
 * How many descriptors are open on what has `kind` in its name: `socket:`, `[eventpoll]`. The
 * runtime opens and closes some of other kinds when it likes.
 */
export const descriptorCount = (kind: string): number =>
  readdirSync('/proc/self/fd').filter((fd) => targetOf(fd).includes(kind)).length;

/** Empty for the descriptor that listed the folder, which is closed by now. */
function targetOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}
