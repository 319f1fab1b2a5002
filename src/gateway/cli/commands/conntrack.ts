/** `culvert conntrack`: the table of all flows, in the words of conntrack(8). */
import { type Command, Option } from 'commander';
import { conntrackCount, conntrack as conntrackSchema } from '../../supervisor/api/schemas.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import { CommandError } from '../command-error.ts';
import { conntrackLine } from '../conntrack-line.ts';
import { killMatching } from '../kill-flows.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printJson } from '../output.ts';

/** Entries of one request: a table of half a million is printed as it comes. */
const PAGE_LENGTH = '10000';

interface ConntrackFlags extends ClientFlags {
  readonly output: 'text' | 'json';
}
interface FlushFlags extends ConntrackFlags {
  readonly all?: boolean;
  readonly dryRun?: boolean;
}

export function addConntrack(program: Command): void {
  const conntrack = program
    .command('conntrack')
    .description('list, count and flush tracked flows of all protocols');
  withOutput(conntrack.command('list [filter...]'))
    .description('list entries; filters are those of `culvert flows`')
    .action(list);
  withOutput(conntrack.command('count [filter...]')).description('count entries').action(count);
  withOutput(conntrack.command('flush [filter...]'))
    .description('end tracked flows; clients and upstreams of TCP are reset')
    .option('--all', 'end every flow')
    .option('--dry-run', 'show them only')
    .action(flush);
}

const withOutput = (command: Command): Command =>
  withClient(command).addOption(
    new Option('-o, --output <format>', 'how to print').choices(['text', 'json']).default('text'),
  );

const isJson = ({ output, json }: ConntrackFlags): boolean => output === 'json' || json === true;

async function list(filter: readonly string[], flags: ConntrackFlags): Promise<void> {
  const client = clientOf(flags);
  let printed = 0;
  let from: number | undefined = 0;
  if (isJson(flags)) print('[');
  while (from !== undefined) {
    const query = queryOf(filter, { from: String(from), limit: PAGE_LENGTH });
    const page = (await client.call(conntrackSchema, 'GET', `/v1/conntrack?${query}`)).value;
    const lines = page.entries.map((entry) =>
      isJson(flags)
        ? `${printed++ === 0 ? '' : ','}${JSON.stringify(entry)}`
        : conntrackLine(entry),
    );
    if (lines.length > 0) print(lines.join('\n'));
    from = page.next;
  }
  if (isJson(flags)) print(']');
}

async function count(filter: readonly string[], flags: ConntrackFlags): Promise<void> {
  const path = `/v1/conntrack/count?${queryOf(filter)}`;
  const { value } = await clientOf(flags).call(conntrackCount, 'GET', path);
  if (isJson(flags)) printJson(value);
  else print(String(value.count));
}

async function flush(filter: readonly string[], flags: FlushFlags): Promise<void> {
  const { all = false, dryRun = false } = flags;
  if (all === filter.length > 0) {
    throw new CommandError(ExitCode.USAGE, 'which flows? name a filter, or --all');
  }
  await killMatching({ ...flags, json: isJson(flags) }, { filter: filter.join(' '), all, dryRun });
}

const queryOf = (filter: readonly string[], more: Record<string, string> = {}): URLSearchParams =>
  new URLSearchParams({ filter: filter.join(' '), ...more });
