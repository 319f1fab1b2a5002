/** Options that several commands share. */
import { type Command, Help, InvalidArgumentError, Option } from 'commander';
import { SILENCE_MS } from '../author/work-aside.ts';
import { DEFAULT_ADMIN } from '../config/admin-schema.ts';
import { type ConfigSource, DEFAULT_STATE_FOLDER } from '../config/default-config.ts';
import { loadEnvFile } from '../config/env-file.ts';
import { CONFIG_FLAGS, collectOverrides, variableOf } from '../config/overrides.ts';
import { UnreadableError } from '../config/read-text-file.ts';
import { LOG_FORMATS, LOG_LEVELS, LOG_TIMES } from '../config/schema.ts';
import { parseDuration } from '../config/value-texts.ts';
import { ExitCode } from '../supervisor/exit-code.ts';
import { ApiClient } from './client.ts';
import { CommandError } from './command-error.ts';

export interface ClientFlags {
  readonly admin: string;
  readonly json?: boolean;
}

/** Flags of a command that talks to a gateway. */
export const withClient = (command: Command): Command =>
  command
    .addOption(
      new Option('--admin <address>', 'API of the gateway: unix:///PATH or IP:PORT')
        .env('CULVERT_ADMIN')
        .default(DEFAULT_ADMIN),
    )
    .option('--json', 'print JSON');

/** The token comes from the environment only: arguments are seen by everybody. */
export const clientOf = (flags: ClientFlags): ApiClient =>
  new ApiClient(flags.admin, process.env['CULVERT_ADMIN_TOKEN']);

/** Flag of a command that runs scripts aside: `timeout` in milliseconds. */
export const withTimeout = (command: Command): Command =>
  command.addOption(
    new Option('--timeout <duration>', 'end scripts that give no sign of life for so long')
      .argParser(parseTimeout)
      .default(SILENCE_MS, `${SILENCE_MS / 1000}s`),
  );

function parseTimeout(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms > 0) return ms;
  throw new InvalidArgumentError('expected a duration such as 20s');
}

export interface ConfigFlags {
  readonly config?: string;
  readonly configDir?: string;
  readonly workdir: string;
}

/** Flags of a command that reads a config; each is a variable as well. */
export const withConfig = (command: Command): Command =>
  [
    // First, so that its variables are there when the others are looked for.
    new Option('--envfile <file>', 'set variables from a file of NAME=value').argParser(
      readEnvFile,
    ),
    new Option('-c, --config <file>', 'config file, YAML or JSON'),
    new Option('-C, --config-dir <folder>', 'merge all config files of a folder, behind --config'),
    new Option('-D, --workdir <folder>', 'folder for what the gateway writes').default(
      DEFAULT_STATE_FOLDER,
    ),
    new Option('--state-dir <folder>', 'folder for the history of scripts'),
    new Option('--device <name>', 'name of the TUN device'),
    new Option('--mtu <bytes>', 'MTU of the device'),
    new Option('--interface <name>', 'interface of upstream sockets'),
    new Option('--fwmark <mark>', 'firewall mark of upstream sockets, decimal or 0x…'),
    new Option('--proxy <url>', 'proxy of what is forwarded: socks5://… or http://…, or a name'),
    new Option('--auto-route', 'route into the device at the start, and back at the end'),
    new Option('--included-routes <networks>', 'what to route, separated by commas'),
    new Option('--excluded-routes <networks>', 'what not to route, separated by commas'),
    new Option('--table <number>', 'routing table for it'),
    new Option('--admin <address>', 'where the API listens: unix:///PATH or IP:PORT'),
    new Option('--log-level <level>', 'least level to log').choices(LOG_LEVELS),
    new Option('--log-format <format>', 'form of log lines').choices(LOG_FORMATS),
    new Option('--log-time <format>', 'RFC 3339 with nanoseconds, or milliseconds').choices(
      LOG_TIMES,
    ),
  ].reduce((to, option) => to.addOption(withVariable(option)), command);

/**
 * Lets a variable stand for a flag: `CULVERT_` and its name. Those that stand for a place of the
 * config are read with it, so that an error names the variable.
 */
export function withVariable(option: Option): Option {
  const name = option.long?.slice('--'.length) ?? '';
  return CONFIG_FLAGS.has(name) ? option : option.env(variableOf(name));
}

/** As commander words it, and with the variables that are read with the config. */
export function describeOption(option: Option): string {
  const words = new Help().optionDescription(option);
  const name = option.long?.slice('--'.length) ?? '';
  const short = option.envVar === undefined ? CONFIG_FLAGS.get(name) : undefined;
  if (short === undefined) return words;
  return `${words} (env: ${[variableOf(name), ...short].join(', ')})`;
}

function readEnvFile(file: string): string {
  try {
    loadEnvFile(file, process.env);
    return file;
  } catch (cause) {
    if (!(cause instanceof UnreadableError)) throw cause;
    throw new CommandError(ExitCode.FAILED, `--envfile ${file} ${cause.message}`, { cause });
  }
}

export const configSource = (flags: ConfigFlags): ConfigSource => ({
  stateFolder: flags.workdir,
  overrides: collectOverrides({ ...flags }, process.env),
  ...(flags.config === undefined ? {} : { file: flags.config }),
  ...(flags.configDir === undefined ? {} : { confFolder: flags.configDir }),
});
