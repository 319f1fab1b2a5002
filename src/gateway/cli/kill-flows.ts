/** Resets the flows that a filter names: of `culvert flows kill` and `culvert conntrack flush`. */
import { killed } from '../supervisor/api/schemas.ts';
import { flowTable } from './flow-table.ts';
import { type ClientFlags, clientOf } from './options.ts';
import { print, printJson } from './output.ts';

interface KillRequest {
  readonly filter: string;
  /** The empty filter is meant. */
  readonly all: boolean;
  readonly dryRun: boolean;
}

export async function killMatching(
  flags: ClientFlags,
  { filter, all, dryRun }: KillRequest,
): Promise<void> {
  const query = new URLSearchParams({ filter, all: String(all), dry_run: String(dryRun) });
  const { value } = await clientOf(flags).call(killed, 'DELETE', `/v1/flows?${query}`);
  if (flags.json) {
    printJson(value);
    return;
  }
  const { flows = [], matched } = value;
  if (flows.length > 0) print(flowTable(flows));
  if (matched > flows.length && flows.length > 0) print('…');
  const count = dryRun ? matched : value.killed;
  const what = count === 1 ? '1 flow' : `${count} flows`;
  print(`${what} ${dryRun ? 'would be reset' : 'reset'}`);
}
