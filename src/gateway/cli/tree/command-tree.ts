/** The command line as data: what completions and the man page are made of. */
import type { Argument, Command, Option } from 'commander';
import { CONFIG_FLAGS, variableOf } from '../../config/overrides.ts';

/** What stands for a value, which says how it can be completed. */
export interface ValueInfo {
  /** `file` of `<file>` */
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'choice' | 'text';
  readonly choices: readonly string[];
}

export interface OptionInfo {
  /** `-c, --config <file>` */
  readonly flags: string;
  /** `-c` and `--config`, as far as there are both. */
  readonly names: readonly string[];
  readonly about: string;
  /** Absent for a switch. */
  readonly value?: ValueInfo;
  readonly fallback?: string;
  readonly variables: readonly string[];
}

export interface CommandInfo {
  /** `script`, `check`; empty for culvert itself. */
  readonly path: readonly string[];
  readonly aliases: readonly string[];
  readonly about: string;
  /** Behind the name: `<file...> [options]`. */
  readonly usage: string;
  readonly args: readonly ValueInfo[];
  readonly options: readonly OptionInfo[];
  readonly commands: readonly CommandInfo[];
}

export function commandTree(command: Command, path: readonly string[] = []): CommandInfo {
  const help = command.createHelp();
  return {
    path,
    aliases: command.aliases(),
    about: command.description(),
    usage: command.usage(),
    args: command.registeredArguments.map(describeArgument),
    options: help.visibleOptions(command).map((option) => describeOption(option, path)),
    commands: help
      .visibleCommands(command)
      .filter((child) => child.name() !== 'help')
      .map((child) => commandTree(child, [...path, child.name()])),
  };
}

/** The command and all below it. */
export const flatten = (info: CommandInfo): CommandInfo[] => [
  info,
  ...info.commands.flatMap(flatten),
];

function describeOption(option: Option, path: readonly string[]): OptionInfo {
  const { short, long, flags, description, defaultValueDescription } = option;
  const name = long?.slice('--'.length) ?? '';
  const argument = /[<[](?<name>[^>\]]+)[>\]]/.exec(flags)?.groups?.['name'];
  // `--no-wait` has the value that is left out as its default.
  const known = option.negate ? undefined : option.defaultValue;
  const fallback = defaultValueDescription ?? (known === undefined ? undefined : String(known));
  const ofConfig = path[0] === undefined || option.envVar ? undefined : CONFIG_FLAGS.get(name);
  const variables = ofConfig ? [variableOf(name), ...ofConfig] : [option.envVar ?? ''];
  return {
    flags,
    names: [short, long].filter((one) => one !== undefined),
    about: description,
    ...(argument && { value: describeValue(argument, option.argChoices) }),
    ...(fallback && { fallback }),
    variables: variables.filter((variable) => variable !== ''),
  };
}

const describeArgument = (argument: Argument): ValueInfo =>
  describeValue(argument.name(), argument.argChoices);

function describeValue(argument: string, choices: readonly string[] = []): ValueInfo {
  const name = argument.replace(/\.\.\.$/, '');
  const isFile = /^(file|files|script|scripts|flows|old|new)$/.test(name);
  const kind =
    choices.length > 0 ? 'choice' : isFile ? 'file' : name === 'folder' ? 'folder' : 'text';
  return { name, kind, choices };
}
