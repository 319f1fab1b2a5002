/** `--envfile`: variables from a file, as systemd and containers write them. */
import { parseEnv } from 'node:util';
import { readTextFile } from './read-text-file.ts';

const FILE_MAX_BYTES = 64 * 1024;

/**
 * Adds the variables of a file to those of the process; what is set already wins.
 *
 * @throws UnreadableError
 */
export function loadEnvFile(file: string, env: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(parseEnv(readTextFile(file, FILE_MAX_BYTES)))) {
    env[name] ??= value;
  }
}
