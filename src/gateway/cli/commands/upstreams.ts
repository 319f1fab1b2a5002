/** `culvert upstreams`: upstreams by name, and how their addresses are. */
import type { Command } from 'commander';
import type { z } from 'zod';
import { upstreams } from '../../supervisor/api/routes/upstreams.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { formatTable, print, printJson } from '../output.ts';

type Upstream = z.output<typeof upstreams>['upstreams'][number];

export function addUpstreams(program: Command): void {
  withClient(program.command('upstreams'))
    .description('list upstreams by name, with the health of their addresses')
    .action(async (flags: ClientFlags) => {
      const { value } = await clientOf(flags).call(upstreams, 'GET', '/v1/upstreams');
      if (flags.json) printJson(value);
      else if (value.upstreams.length === 0) print('the configuration has no upstreams');
      else print(render(value.upstreams));
    });
}

const render = (list: readonly Upstream[]): string =>
  formatTable(
    ['UPSTREAM', 'KIND', 'ADDRESS', 'STATE', 'ACTIVE', 'CONNECTS', 'FAILURES', 'LAST ERROR'],
    list.flatMap((one) => {
      const kind = one.policy ?? one.protocol ?? one.kind;
      if (one.addresses.length === 0) {
        return [[one.name, kind, optionsText(one), '-', '-', one.connects, one.failures, '-']];
      }
      return one.addresses.map((address, index) => [
        index === 0 ? one.name : '',
        index === 0 ? kind : '',
        address.address,
        address.healthy ? 'up' : 'down',
        address.active,
        address.connects,
        address.failures,
        address.last_error ?? '-',
      ]);
    }),
  );

/** `interface=wg0 fwmark=32` */
const optionsText = ({ interface: device, fwmark, source }: Upstream): string =>
  [
    ...(device === undefined ? [] : [`interface=${device}`]),
    ...(fwmark === undefined ? [] : [`fwmark=${fwmark}`]),
    ...(source === undefined ? [] : [`source=${source.join(',')}`]),
  ].join(' ');
