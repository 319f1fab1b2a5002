/** Commands that print what the binary carries. */
import type { Command } from 'commander';
import { SCRIPT_TYPES, TEST_TYPES } from '../../../scripts-runtime/types.ts';
import { configJsonSchema } from '../../config/schema.ts';
import { print, printJson } from '../output.ts';

export function addTypes(program: Command): void {
  program
    .command('types')
    .description('print the declarations that scripts and their tests are written against')
    .action(() => print(`${SCRIPT_TYPES}\n${TEST_TYPES}`.trimEnd()));
}

export function addSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of the config')
    .action(() => printJson(configJsonSchema()));
}
