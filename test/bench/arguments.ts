/** What the command lines of the benches share. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { BenchError } from './command.ts';

/** `parseArgs`, with positionals. @throws BenchError  naming what is not understood */
export function parseArguments<const O extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: O,
) {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options });
  } catch (error) {
    if (error instanceof TypeError) throw new BenchError(error.message, { cause: error });
    throw error;
  }
}

/** @throws BenchError  for what is no number from `least` on */
export function count(option: string, text: string | undefined, usual: number, least = 1): number {
  if (text === undefined) return usual;
  if (!/^(?:0|[1-9]\d{0,5})$/.test(text) || Number(text) < least) {
    throw new BenchError(`${option} ${text}: not a number from ${least}`);
  }
  return Number(text);
}
