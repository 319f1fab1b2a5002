/** `culvert run`: the gateway in the foreground. */
import { type Command, InvalidArgumentError } from 'commander';
import { serve } from '../../supervisor/serve.ts';
import { type ConfigFlags, configSource, withConfig } from '../options.ts';
import type { Finish } from '../program.ts';
import { check } from './check.ts';

interface RunFlags extends ConfigFlags {
  readonly test?: boolean;
  readonly resume?: boolean;
  readonly pidfile?: string;
  readonly readyFd?: number;
}

export function addRun(program: Command, finish: Finish): void {
  withConfig(program.command('run'))
    .description('run the gateway in the foreground; logs go to standard error')
    .option('-t, --test', 'as `culvert check`')
    .option('--resume', 'start with the config that ran last, where one was saved')
    .option('--pidfile <file>', 'write the process id here')
    .option('--ready-fd <fd>', 'write "1" to this descriptor when packets are answered', parseFd)
    .action(async (flags: RunFlags) => finish(flags.test ? await check(flags) : await run(flags)));
}

const run = ({ pidfile, readyFd, resume, ...flags }: RunFlags) =>
  serve({
    source: configSource(flags),
    ...(resume === undefined ? {} : { resume }),
    ...(pidfile === undefined ? {} : { pidfile }),
    ...(readyFd === undefined ? {} : { readyFd }),
  });

function parseFd(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a file descriptor.');
  return Number(text);
}
