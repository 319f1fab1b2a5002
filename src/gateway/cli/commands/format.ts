/** `culvert format`: config files in their canonical form. */
import type { Command } from 'commander';
import { ConfigFileError, stageFile } from '../../config/config-writer.ts';
import { DocumentError } from '../../config/documents.ts';
import { formatConfig } from '../../config/format.ts';
import { ConfigError } from '../../config/load.ts';
import { readTextFile, UnreadableError } from '../../config/read-text-file.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { print } from '../output.ts';
import type { Finish } from '../program.ts';

interface FormatFlags {
  readonly write?: boolean;
  readonly check?: boolean;
}

const FILE_MAX_BYTES = 4 * 1024 * 1024;

export function addFormat(program: Command, finish: Finish): void {
  program
    .command('format')
    .description('print config files in their canonical form; comments stay')
    .argument('<file...>', 'YAML or JSON')
    .option('-w, --write', 'write them back, and print the names of those that changed')
    .option('--check', 'change nothing, and end with 1 if one would change')
    .action(async (files: readonly string[], flags: FormatFlags) => {
      let differing = 0;
      for (const file of files) if (await format(file, flags)) differing++;
      finish(flags.check && differing > 0 ? ExitCode.FAILED : ExitCode.OK);
    });
}

/** Whether the file is not in its canonical form. @throws ConfigError, CommandError */
async function format(file: string, flags: FormatFlags): Promise<boolean> {
  const text = read(file);
  const formatted = canonical(text, file);
  const differs = formatted !== text;
  if (!flags.write && !flags.check) print(formatted.trimEnd());
  if (!differs) return false;
  if (flags.write) await replace(file, formatted, text);
  if (flags.write || flags.check) print(file);
  return true;
}

function read(file: string): string {
  try {
    return readTextFile(file, FILE_MAX_BYTES);
  } catch (cause) {
    if (!(cause instanceof UnreadableError)) throw cause;
    throw new CommandError(ExitCode.FAILED, `${file} ${cause.message}`, { cause });
  }
}

function canonical(text: string, file: string): string {
  try {
    return formatConfig(text, file, file.endsWith('.json'));
  } catch (cause) {
    if (!(cause instanceof DocumentError)) throw cause;
    throw new ConfigError(file, cause.issues, { cause });
  }
}

/** As a whole or not at all, with the mode and the owner that it had. */
async function replace(file: string, text: string, before: string): Promise<void> {
  try {
    const staged = await stageFile(file, text, before);
    await staged.commit();
  } catch (cause) {
    if (!(cause instanceof ConfigFileError)) throw cause;
    throw new CommandError(ExitCode.FAILED, cause.message, { cause });
  }
}
