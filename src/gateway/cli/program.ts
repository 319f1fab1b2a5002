/** The command line: finds the command, runs it, and turns its failure into a code. */
import { Command, CommanderError } from 'commander';
import { SystemError } from '../../ffi/errors.ts';
import { WorkLostError } from '../author/work-aside.ts';
import { ConfigError } from '../config/load.ts';
import { ScriptFileError } from '../config/script-files.ts';
import { AddressInUseError } from '../supervisor/api/socket-file.ts';
import { buildInfo } from '../supervisor/build-info.ts';
import { ExitCode } from '../supervisor/exit-code.ts';
import { BundleRejectedError, ScriptHostError } from '../supervisor/scripts/change-errors.ts';
import { StartError } from '../supervisor/start-error.ts';
import { CommandError } from './command-error.ts';
import { addCapture } from './commands/capture.ts';
import { addCheck } from './commands/check.ts';
import { addCompletion, addManpage } from './commands/completion.ts';
import { addConfig } from './commands/config.ts';
import { addConntrack } from './commands/conntrack.ts';
import { addDrops } from './commands/drops.ts';
import { addEnding } from './commands/ending.ts';
import { addEnviron } from './commands/environ.ts';
import { addExplain } from './commands/explain.ts';
import { addFlows } from './commands/flows.ts';
import { addFormat } from './commands/format.ts';
import { addHealthcheck } from './commands/healthcheck.ts';
import { addLogLevel } from './commands/log-level.ts';
import { addReload } from './commands/reload.ts';
import { addRoute } from './commands/route.ts';
import { addRun } from './commands/run.ts';
import { addScript } from './commands/script.ts';
import { addService } from './commands/service.ts';
import { addStatus } from './commands/status.ts';
import { addSchema, addTypes } from './commands/texts.ts';
import { addUpstreams } from './commands/upstreams.ts';
import { addVersion } from './commands/version.ts';
import { describeOption } from './options.ts';
import { print, printError, printHelp } from './output.ts';

/** A command's end is a code, for a caller that ends the process. */
export type Finish = (code: ExitCode) => void;

/** Runs one command and settles with the code of the process. */
export async function runCli(args: readonly string[]): Promise<number> {
  let code: number = ExitCode.OK;
  const program = createProgram((given) => {
    code = given;
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    return report(error);
  }
}

/** The whole command line; `finish` is told the code of a command that ends with one. */
export function createProgram(finish: Finish): Command {
  const program = new Command('culvert')
    .description('An edge gateway with scripting.')
    .version(buildInfo.version, '-V, --version', 'print the version')
    .showHelpAfterError('(culvert --help lists commands and flags)')
    .addHelpText(
      'after',
      '\nculvert manpage | man -l - has keys, variables, signals and exit codes.',
    )
    .exitOverride()
    .configureHelp({ optionDescription: describeOption })
    .configureOutput({
      writeOut: (text) => print(text.trimEnd()),
      writeErr: printUsage,
    });
  program.commandsGroup('A gateway and its config:');
  addRun(program, finish);
  addCheck(program, finish);
  addFormat(program, finish);
  for (const add of [addEnviron, addSchema, addRoute, addService]) add(program);
  program.commandsGroup('A gateway that runs:');
  for (const add of [addReload, addStatus, addFlows, addConntrack, addDrops, addExplain])
    add(program);
  addCapture(program);
  addUpstreams(program);
  for (const add of [addConfig, addLogLevel, addEnding]) add(program);
  addHealthcheck(program, finish);
  program.commandsGroup('Scripts:');
  addScript(program, finish);
  addTypes(program);
  program.commandsGroup('This program:');
  for (const add of [addVersion, addCompletion, addManpage]) add(program);
  return program;
}

/** What commander says of a wrong line: an error in its words, or the help. */
function printUsage(text: string): void {
  const [, message] = /^error: (.*)$/s.exec(text.trimEnd()) ?? [];
  if (message === undefined) printHelp(text.trimEnd());
  else printError(message.replaceAll('\n', ' '));
}

/** Says what went wrong. A bug keeps its stack. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
  if (error instanceof CommandError) {
    printError(error.message);
    return error.exitCode;
  }
  if (
    error instanceof ConfigError ||
    error instanceof ScriptFileError ||
    error instanceof BundleRejectedError ||
    error instanceof SystemError ||
    error instanceof AddressInUseError ||
    error instanceof StartError ||
    error instanceof ScriptHostError ||
    error instanceof WorkLostError
  ) {
    printError(error.message);
    return ExitCode.FAILED;
  }
  printError(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return ExitCode.FAILED;
}
