/** `culvert flows`: live flows, and how to end one. */
import type { Command } from 'commander';
import { z } from 'zod';
import { flows as flowsSchema } from '../../supervisor/api/schemas.ts';
import type { ApiClient } from '../client.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { formatBytes, formatSpan, formatTable, print, printJson } from '../output.ts';

const WATCH_PERIOD_MS = 1_000;
/** Cursor home, clear to the end of the screen. */
const CLEAR = '\x1b[H\x1b[J';

interface FlowsFlags extends ClientFlags {
  readonly watch?: boolean;
  readonly limit: string;
}
type Flow = z.output<typeof flowsSchema>['flows'][number];

export function addFlows(program: Command): void {
  const flows = withClient(program.command('flows [filter...]'))
    .description('list live flows; a filter is like src=10.0.0.0/8 port=443 verdict=forward')
    .option('--limit <count>', 'flows to show', '100')
    .option('--watch', 'show again every second')
    .action(list);
  withClient(flows.command('kill <id>'))
    .description('reset a flow')
    .action(async (id: string, _: ClientFlags, command: Command) => {
      const flags = command.optsWithGlobals<ClientFlags>();
      await clientOf(flags).call(z.undefined(), 'DELETE', `/v1/flows/${encodeURIComponent(id)}`);
      if (flags.json) printJson({ id, killed: true });
      else print(`flow ${id} is reset`);
    });
}

async function list(filter: readonly string[], flags: FlowsFlags): Promise<void> {
  const client = clientOf(flags);
  const query = new URLSearchParams({ filter: filter.join(' '), limit: flags.limit });
  for (;;) {
    const text = await render(client, query, flags.json === true);
    print(flags.watch && process.stdout.isTTY ? CLEAR + text : text);
    if (!flags.watch) return;
    await Bun.sleep(WATCH_PERIOD_MS);
  }
}

async function render(client: ApiClient, query: URLSearchParams, isJson: boolean): Promise<string> {
  const { value } = await client.call(flowsSchema, 'GET', `/v1/flows?${query}`);
  if (isJson) return JSON.stringify(value, undefined, 2);
  const table = formatTable(
    [
      'ID',
      'PROTO',
      'SOURCE',
      'DESTINATION',
      'UPSTREAM',
      'STATE',
      'VERDICT',
      'BY',
      'UP',
      'DOWN',
      'AGE',
    ],
    value.flows.map(row),
  );
  return value.next === undefined ? table : `${table}\n… more: raise --limit, or filter`;
}

const row = (flow: Flow): (string | undefined)[] => [
  flow.id,
  flow.proto,
  address(flow.src, flow.src_port),
  address(flow.dst, flow.dst_port),
  flow.upstream_addr ?? flow.upstream,
  flow.phase === 'open' || flow.phase === 'closing' ? flow.state : flow.phase,
  flow.verdict,
  flow.script === undefined ? (flow.rule ?? flow.decider) : `${flow.script}@${flow.script_version}`,
  formatBytes(flow.bytes_up),
  formatBytes(flow.bytes_down),
  formatSpan(flow.duration_ms),
];

const address = (ip: string, port: number): string =>
  ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
