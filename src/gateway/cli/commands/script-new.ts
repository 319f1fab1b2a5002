/** `culvert script new`: a script, its test, and what an editor needs to know the types. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import { filesOf, sharedFiles, TEMPLATES } from '../../author/templates.ts';
import { scriptName } from '../../config/script-schema.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { print, printJson } from '../output.ts';

interface NewFlags {
  readonly template: string;
  readonly json?: boolean;
}

const DEFAULT_TEMPLATE = 'by-port';

export function addScriptNew(script: Command): void {
  const titles = Object.entries(TEMPLATES).map(([name, { title }]) => `  ${name}: ${title}`);
  script
    .command('new <name>')
    .description('write a script NAME.ts with a test, types and a tsconfig.json, ready to edit')
    .addOption(
      new Option('--template <template>', 'what it begins as')
        .choices(Object.keys(TEMPLATES))
        .default(DEFAULT_TEMPLATE),
    )
    .option('--json', 'print JSON')
    .addHelpText('after', `\nNAME may have a folder in front. Templates:\n${titles.join('\n')}`)
    .action(create);
}

/** @throws CommandError  a file is there already, or cannot be written */
function create(path: string, { template, json: isJson }: NewFlags): void {
  const folder = dirname(path);
  const name = basename(path).replace(/\.[jt]s$/, '');
  if (!scriptName.safeParse(name).success) {
    throw new CommandError(ExitCode.USAGE, `"${name}" cannot be the name of a script`);
  }
  const own = Object.entries(filesOf(name, template)).map(([file, text]) =>
    place(folder, file, text),
  );
  const taken = own.find(({ file }) => existsSync(file));
  if (taken !== undefined) {
    throw new CommandError(ExitCode.FAILED, `${taken.file} is there already, and stays as it is`);
  }
  const shared = Object.entries(sharedFiles())
    .map(([file, text]) => place(folder, file, text))
    .filter(({ file }) => !existsSync(file));
  const files = [...own, ...shared];
  writeAll(folder, files);
  const names = files.map(({ file }) => file);
  if (isJson) printJson({ files: names });
  else print([...names, `now: culvert script test ${own[0]?.file ?? ''}`].join('\n'));
}

interface NewFile {
  readonly file: string;
  readonly text: string;
}

const place = (folder: string, file: string, text: string): NewFile => ({
  file: join(folder, file),
  text,
});

function writeAll(folder: string, files: readonly NewFile[]): void {
  try {
    mkdirSync(folder, { recursive: true });
    // What came into being since it was looked for is not overwritten either.
    for (const { file, text } of files) writeFileSync(file, text, { flag: 'wx' });
  } catch (cause) {
    const { code = 'unknown error', path = folder } = cause as NodeJS.ErrnoException;
    throw new CommandError(ExitCode.FAILED, `${path} cannot be written: ${code}`, { cause });
  }
}
