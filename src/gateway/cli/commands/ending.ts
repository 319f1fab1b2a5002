/** `culvert drain` and `culvert stop`: no new flows, and then no gateway. */
import type { Command } from 'commander';
import { ending } from '../../supervisor/api/routes/ending.ts';
import { status } from '../../supervisor/api/schemas.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { formatSpan, print, printJson } from '../output.ts';

interface EndingFlags extends ClientFlags {
  readonly deadline?: string;
  readonly wait: boolean;
}

/** How often a gateway that ends is looked at. */
const POLL_MS = 100;
/** Beyond the deadline: for its children to end. */
const GRACE_MS = 10_000;

export function addEnding(program: Command): void {
  withEnding(program.command('drain'))
    .description('take no new flow, and wait until those that live have ended')
    .action((flags: EndingFlags) => end('drain', flags));
  withEnding(program.command('stop'))
    .description('drain and end the gateway, and wait until it has ended')
    .action((flags: EndingFlags) => end('stop', flags));
}

const withEnding = (command: Command): Command =>
  withClient(command)
    .option('--deadline <duration>', 'how long live flows may take; as the config says')
    .option('--no-wait', 'only begin it');

async function end(what: 'drain' | 'stop', flags: EndingFlags): Promise<void> {
  const query = flags.deadline === undefined ? '' : `?deadline=${flags.deadline}`;
  const { value } = await clientOf(flags).call(ending, 'POST', `/v1/${what}${query}`);
  if (!flags.json) {
    print(`${value.state}: ${value.flows} flows have ${formatSpan(value.deadline_ms)}`);
  }
  const isOver = !flags.wait || (await waitForEnd(what, flags, value.deadline_ms + GRACE_MS));
  if (flags.json) printJson({ ...value, over: isOver && flags.wait });
  if (!isOver) throw new CommandError(ExitCode.FAILED, `the ${what} did not end in time`);
}

/** Whether it has ended in time: no flow is left, or nobody answers any more. */
async function waitForEnd(
  what: 'drain' | 'stop',
  flags: EndingFlags,
  timeoutMs: number,
): Promise<boolean> {
  const client = clientOf(flags);
  const until = Date.now() + timeoutMs;
  while (Date.now() < until) {
    try {
      const { value } = await client.call(status, 'GET', '/v1/status');
      if (what === 'drain' && value.flows.active === 0) return true;
    } catch (error) {
      if (error instanceof CommandError && error.exitCode === ExitCode.UNREACHABLE) return true;
      throw error;
    }
    await Bun.sleep(POLL_MS);
  }
  return false;
}
