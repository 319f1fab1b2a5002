/** Outlives all signals of a gateway, and prints which of them it ignores. */
import { readFileSync } from 'node:fs';
import { leaveSignalsToParent } from '../../../src/ffi/process.ts';

leaveSignalsToParent();
for (const signal of ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGTERM'] as const) {
  process.kill(process.pid, signal);
}
const status = readFileSync('/proc/self/status', 'utf8');
const ignored = BigInt(`0x${/^SigIgn:\t(.*)$/m.exec(status)?.[1]}`);
// Bit 0 is signal 1.
console.log(
  JSON.stringify([1, 2, 3, 10, 12, 15].map((n) => ((ignored >> BigInt(n - 1)) & 1n) === 1n)),
);
