/** `culvert drops`: why packets reached nobody, and why flows ended. */
import type { Command } from 'commander';
import { drops as dropsSchema } from '../../supervisor/api/schemas.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { formatTable, print, printJson } from '../output.ts';

interface DropsFlags extends ClientFlags {
  readonly all?: boolean;
}

export function addDrops(program: Command): void {
  withClient(program.command('drops'))
    .description('count dropped packets and ended flows by reason')
    .option('--all', 'show reasons that never happened, too')
    .action(drops);
}

async function drops(flags: DropsFlags): Promise<void> {
  const path = `/v1/drops${flags.all ? '?all=true' : ''}`;
  const { value } = await clientOf(flags).call(dropsSchema, 'GET', path);
  if (flags.json) {
    printJson(value);
    return;
  }
  const dropRows = value.drops.map(({ reason, layer, count }) => [reason, layer, count]);
  const closeRows = value.closes.map(({ reason, count }) => [reason, count]);
  print(formatTable(['DROPPED PACKETS', 'LAYER', 'COUNT'], dropRows));
  print('');
  print(formatTable(['ENDED FLOWS', 'COUNT'], closeRows));
}
