/** `culvert status`: what runs. */
import type { Command } from 'commander';
import { type Status, status } from '../../supervisor/api/schemas.ts';
import { type ClientFlags, clientOf, withClient } from '../options.ts';
import { formatSpan, formatTable, print, printJson } from '../output.ts';

export function addStatus(program: Command): void {
  withClient(program.command('status'))
    .description('show what runs')
    .action(async (flags: ClientFlags) => {
      const { value } = await clientOf(flags).call(status, 'GET', '/v1/status');
      if (flags.json) printJson(value);
      else print(render(value));
    });
}

function render(value: Status): string {
  const { device, flows, generation, script_host: host, data_plane: plane } = value;
  const trouble = value.not_ready.length === 0 ? '' : ` (${value.not_ready.join(', ')})`;
  const restarts = Object.values(host.restarts).reduce((sum, count) => sum + count, 0);
  const offload = device.offload ? 'superpackets' : 'no offload';
  return [
    `state       ${value.state}${trouble}`,
    `version     ${value.version} (${value.commit}), Bun ${value.bun}`,
    `uptime      ${formatSpan(value.uptime_seconds * 1000)}, pid ${value.pid}`,
    `config      ${value.config.file ?? 'embedded default'}, generation ${value.config.generation}`,
    `device      ${device.name} ${device.up ? 'up' : 'down'}, MTU ${device.mtu}, ${offload}`,
    `data plane  pid ${plane.pids.join(', ') || '-'}, ${plane.restarts} restarts`,
    `script host ${host.state}, pid ${host.pid ?? '-'}, ${restarts} restarts`,
    `scripts     generation ${generation.number} (${generation.hash})`,
    `flows       ${flows.active} of ${flows.limit}, ${flows.total} since the start`,
    ...(value.scripts.length === 0 ? [] : ['', formatScripts(value.scripts)]),
  ].join('\n');
}

export const formatScripts = (scripts: Status['scripts']): string =>
  formatTable(
    ['SCRIPT', 'FILE', 'GENERATION', 'DECISIONS', 'ERRORS', 'CPU MS', 'LIMIT HITS', 'STATE'],
    scripts.map((script) => [
      script.name,
      script.file,
      script.generation,
      script.decisions,
      script.errors,
      script.cpu_ms,
      Object.entries(script.limit_hits)
        .map(([kind, hits]) => `${kind}:${hits}`)
        .join(' ') || '-',
      script.disabled ? 'disabled' : 'active',
    ]),
  );
