/**
 * As `parent`: starts itself again as the child, prints the child's number once it is bound to its
 * parent, and then waits to be killed.
 */
import { dieWithParent } from '../../../src/ffi/process.ts';

if (process.argv[2] === 'child') {
  dieWithParent();
  console.log(process.pid);
} else {
  Bun.spawn([process.execPath, import.meta.path, 'child'], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}
setInterval(() => {}, 60_000);
