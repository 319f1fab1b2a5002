/** Lowers its limits and prints them as the kernel shows them. */
import { readFileSync } from 'node:fs';
import { limitResources, raiseFileLimit } from '../../../src/ffi/process.ts';

const limits = (): string => readFileSync('/proc/self/limits', 'utf8');
const row = (name: string): string[] =>
  limits()
    .split('\n')
    .find((line) => line.startsWith(name))
    ?.slice(26)
    .trim()
    .split(/\s+/)
    .slice(0, 2) ?? [];

const raised = raiseFileLimit();
const openFilesRaised = row('Max open files');
limitResources({
  addressSpaceBytes: 2 ** 47,
  openFiles: 64,
  coreBytes: 0,
  processes: 4000,
});
console.log(
  JSON.stringify({
    raised,
    openFilesRaised,
    addressSpace: row('Max address space'),
    openFiles: row('Max open files'),
    core: row('Max core file size'),
    processes: row('Max processes'),
  }),
);
