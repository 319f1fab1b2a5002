/** `culvert version`: what this binary is, and what it finds here. */
import type { Command } from 'commander';
import { kernelFeatures } from '../../../ffi/kernel-features.ts';
import { buildInfo } from '../../supervisor/build-info.ts';
import { print, printJson } from '../output.ts';

export function addVersion(program: Command): void {
  program
    .command('version')
    .description('print version, commit, and with --json the kernel features found')
    .option('--json', 'print JSON')
    .action(({ json }: { readonly json?: boolean }) => {
      if (json) printJson({ ...buildInfo, features: kernelFeatures() });
      else print(`culvert ${buildInfo.version} (${buildInfo.commit}), Bun ${buildInfo.bun}`);
    });
}
