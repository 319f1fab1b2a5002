/** `culvert healthcheck`: 0 when the gateway takes new flows, else 1; for probes. */
import type { Command } from 'commander';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printJson } from '../output.ts';
import type { Finish } from '../program.ts';

export function addHealthcheck(program: Command, finish: Finish): void {
  withClient(program.command('healthcheck'))
    .description('exit with 0 when the gateway is ready, else with 1')
    .action(async (flags: ClientFlags) => {
      const { isReady, text } = await probe(flags);
      if (flags.json) printJson({ ready: isReady, detail: text });
      else print(text);
      finish(isReady ? ExitCode.OK : ExitCode.FAILED);
    });
}

async function probe(flags: ClientFlags): Promise<{ isReady: boolean; text: string }> {
  try {
    const response = await clientOf(flags).send('GET', '/readyz');
    return { isReady: response.ok, text: (await response.text()).trim() };
  } catch (error) {
    if (!(error instanceof CommandError) || error.exitCode !== ExitCode.UNREACHABLE) throw error;
    return { isReady: false, text: error.message };
  }
}
