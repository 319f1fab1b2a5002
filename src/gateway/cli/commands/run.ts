/** `culvert run`: the gateway in the foreground. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { serve } from '../../supervisor/serve.ts';
import { type ConfigFlags, configSource, withConfig, withVariable } from '../options.ts';
import type { Finish } from '../program.ts';
import { check } from './check.ts';

interface RunFlags extends ConfigFlags {
  readonly test?: boolean;
  readonly resume?: boolean;
  readonly pidfile?: string;
  readonly readyFd?: number;
  readonly exitFd?: number;
}

export function addRun(program: Command, finish: Finish): void {
  withConfig(program.command('run'))
    .description('run the gateway in the foreground; logs go to standard error')
    .option('-t, --test', 'as `culvert check`')
    .addOption(
      withVariable(new Option('--resume', 'start with the config that ran last, if it was saved')),
    )
    .addOption(withVariable(new Option('--pidfile <file>', 'write the process id here')))
    .addOption(
      withVariable(
        new Option('--ready-fd <fd>', 'write "1" to this descriptor when packets are answered'),
      ).argParser(parseFd),
    )
    .addOption(
      withVariable(
        new Option('--exit-fd <fd>', 'drain and end when the other end of this pipe is closed'),
      ).argParser(parseFd),
    )
    .action(async (flags: RunFlags) => finish(flags.test ? await check(flags) : await run(flags)));
}

const run = ({ pidfile, readyFd, exitFd, resume, ...flags }: RunFlags) =>
  serve({
    source: configSource(flags),
    ...(resume === undefined ? {} : { resume }),
    ...(pidfile === undefined ? {} : { pidfile }),
    ...(readyFd === undefined ? {} : { readyFd }),
    ...(exitFd === undefined ? {} : { exitFd }),
  });

function parseFd(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a file descriptor.');
  return Number(text);
}
