/** `culvert environ`: every setting, and who said it. */
import type { Command } from 'commander';
import { nearest } from '../../../scripts-runtime/suggest.ts';
import { loadConfig } from '../../config/default-config.ts';
import { settingsOf } from '../../config/environ.ts';
import { CONFIG_FLAGS, variableOf } from '../../config/overrides.ts';
import { type ConfigFlags, configSource, withConfig } from '../options.ts';
import { formatTable, print, printError, printJson } from '../output.ts';

interface EnvironFlags extends ConfigFlags {
  readonly json?: boolean;
}

/** Read by commands that talk to a gateway, and by no flag. */
const TOKEN_VARIABLE = 'CULVERT_ADMIN_TOKEN';

export function addEnviron(program: Command): void {
  const command = withConfig(program.command('environ'))
    .description('print every setting and where it comes from; secrets are masked')
    .option('--json', 'print JSON')
    .action((flags: EnvironFlags) => {
      const run = program.commands.find((one) => one.name() === 'run') ?? command;
      environ(flags, variablesOf(run));
    });
}

/** Every variable that `culvert run` reads. */
const variablesOf = (run: Command): string[] => [
  ...run.options.map(({ long }) => variableOf(long?.slice('--'.length) ?? '')),
  ...[...CONFIG_FLAGS.values()].flat(),
  TOKEN_VARIABLE,
];

function environ(flags: EnvironFlags, variables: readonly string[]): void {
  const source = configSource(flags);
  const settings = settingsOf(source, loadConfig(source).config);
  const unknown = Object.keys(process.env).filter(
    (name) => name.startsWith('CULVERT_') && !variables.includes(name),
  );
  if (flags.json) printJson({ settings, unknown });
  else print(formatTable(['SETTING', 'VALUE', 'SOURCE'], settings.map(row)));
  for (const name of unknown) {
    const meant = nearest(name, variables);
    printError(
      `${name} is read by nothing${meant === undefined ? '' : `, did you mean ${meant}?`}`,
    );
  }
}

const row = ({ path, value, source }: ReturnType<typeof settingsOf>[number]): string[] => [
  path,
  typeof value === 'string' ? value || '""' : JSON.stringify(value),
  source,
];
