/** Options that several commands share. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { SILENCE_MS } from '../author/work-aside.ts';
import { DEFAULT_ADMIN } from '../config/admin-schema.ts';
import { type ConfigSource, DEFAULT_STATE_FOLDER } from '../config/default-config.ts';
import { collectOverrides } from '../config/overrides.ts';
import { parseDuration } from '../config/values.ts';
import { ApiClient } from './client.ts';

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
  readonly workdir: string;
}

/** Flags of a command that reads a config. */
export const withConfig = (command: Command): Command =>
  command
    .addOption(new Option('-c, --config <file>', 'config file, YAML or JSON').env('CULVERT_CONFIG'))
    .addOption(
      new Option('-D, --workdir <folder>', 'folder for what the gateway writes')
        .env('CULVERT_WORKDIR')
        .default(DEFAULT_STATE_FOLDER),
    )
    .option('--state-dir <folder>', 'folder for the history of scripts')
    .option('--device <name>', 'name of the TUN device')
    .option('--mtu <bytes>', 'MTU of the device')
    .option('--interface <name>', 'interface of upstream sockets')
    .option('--fwmark <mark>', 'firewall mark of upstream sockets, decimal or 0x…')
    .option('--admin <address>', 'where the API listens: unix:///PATH or IP:PORT')
    .option('--log-level <level>', 'debug, info, warn, error or silent')
    .option('--log-format <format>', 'json, text or logfmt')
    .option('--log-time <format>', 'rfc3339 with nanoseconds, or epoch in milliseconds');

export const configSource = (flags: ConfigFlags): ConfigSource => ({
  stateFolder: flags.workdir,
  overrides: collectOverrides({ ...flags }, process.env),
  ...(flags.config === undefined ? {} : { file: flags.config }),
});
