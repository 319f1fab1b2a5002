import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { libc } from '../../../src/ffi/libc.ts';
import { allocateStruct } from '../../../src/ffi/memory.ts';
import { HOST_ORDER, RLimit } from '../../../src/ffi/structs.ts';

const RLIMIT_NOFILE = 7;

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

/** Runs `body` while this process can open nothing more: EMFILE. */
export function withoutDescriptors(body: () => void): void {
  const limit = allocateStruct(RLimit.BYTES);
  libc.prlimit(0, RLIMIT_NOFILE, 0, limit.address);
  const soft = limit.view.getBigUint64(RLimit.SOFT, HOST_ORDER);
  const set = (value: bigint): void => {
    limit.view.setBigUint64(RLimit.SOFT, value, HOST_ORDER);
    libc.prlimit(0, RLIMIT_NOFILE, limit.address, 0);
  };
  // The lowest number that is free is the next one's.
  const next = openSync('/dev/null', 'r');
  closeSync(next);
  set(BigInt(next));
  try {
    body();
  } finally {
    set(soft);
  }
}
