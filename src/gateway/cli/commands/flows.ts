/** `culvert flows`: live flows, and how to end one, or those that a filter names. */
import type { Command } from 'commander';
import { z } from 'zod';
import { flowInfos } from '../../supervisor/api/flow-info-schemas.ts';
import { ExitCode } from '../../supervisor/exit-code.ts';
import type { ApiClient } from '../client.ts';
import { CommandError } from '../command-error.ts';
import { flowInfoText } from '../flow-info-text.ts';
import { flowTable } from '../flow-table.ts';
import { killMatching } from '../kill-flows.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { print, printJson } from '../output.ts';

const WATCH_PERIOD_MS = 1_000;
/** Cursor home, clear to the end of the screen. */
const CLEAR = '\x1b[H\x1b[J';

interface FlowsFlags extends ClientFlags {
  readonly watch?: boolean;
  readonly info?: boolean;
  readonly limit: string;
}
interface KillFlags extends ClientFlags {
  readonly filter?: string;
  readonly dryRun?: boolean;
}

export function addFlows(program: Command): void {
  const flows = withClient(program.command('flows [filter...]'))
    .description("list live flows; a filter is like 'src in 10.0.0.0/8 and not dport = 443'")
    .option('--limit <count>', 'flows to show', '100')
    .option('--watch', 'show again every second')
    .option('-i, --info', 'show both ends of each connection, as ss -ti')
    .action(list);
  withClient(flows.command('kill [id]'))
    .description('reset a flow, or all that pass a filter')
    .option('--filter <filter>', 'flows to reset, as in the list')
    .option('--dry-run', 'show them only')
    .action((id: string | undefined, _: KillFlags, command: Command) =>
      kill(id, command.optsWithGlobals<KillFlags>()),
    );
}

async function kill(id: string | undefined, flags: KillFlags): Promise<void> {
  const { filter, json, dryRun = false } = flags;
  if ((id === undefined) === (filter === undefined)) {
    throw new CommandError(ExitCode.USAGE, 'which flows? name an id, or --filter');
  }
  if (filter !== undefined) {
    await killMatching(flags, { filter, all: false, dryRun });
    return;
  }
  if (id === undefined) return;
  const path = `/v1/flows/${encodeURIComponent(id)}`;
  const client = clientOf(flags);
  if (dryRun) await client.call(z.unknown(), 'GET', path);
  else await client.call(z.undefined(), 'DELETE', path);
  if (json) printJson({ id, killed: !dryRun });
  else print(`flow ${id} ${dryRun ? 'would be' : 'is'} reset`);
}

async function list(filter: readonly string[], flags: FlowsFlags): Promise<void> {
  const client = clientOf(flags);
  const query = new URLSearchParams({ filter: filter.join(' '), limit: flags.limit });
  if (flags.info) query.set('view', 'tcp');
  for (;;) {
    const text = await render(client, query, flags);
    print(flags.watch && process.stdout.isTTY ? CLEAR + text : text);
    if (!flags.watch) return;
    await Bun.sleep(WATCH_PERIOD_MS);
  }
}

async function render(
  client: ApiClient,
  query: URLSearchParams,
  { json, info }: FlowsFlags,
): Promise<string> {
  const { value } = await client.call(flowInfos, 'GET', `/v1/flows?${query}`);
  if (json) return JSON.stringify(value, undefined, 2);
  const table = info ? flowInfoText(value.flows) || 'no flows' : flowTable(value.flows);
  return value.next === undefined ? table : `${table}\n… more: raise --limit, or filter`;
}
