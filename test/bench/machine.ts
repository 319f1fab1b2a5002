/** What the report says about where and with what it was measured. */

import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { run } from './command.ts';
import type { VersionSource } from './peer.ts';

const GIB = 2 ** 30;

/** `2 × AMD EPYC, 16 GiB, Debian GNU/Linux 12 (bookworm), kernel 6.1.0, TCP bbr`. */
export function describeMachine(): string {
  const processors = cpus();
  const model = processors[0]?.model.trim() ?? 'unknown processor';
  const congestion = readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim();
  return [
    `${processors.length} × ${model}`,
    `${Math.round(totalmem() / GIB)} GiB`,
    /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux',
    `kernel ${release()}`,
    `TCP ${congestion}`,
  ].join(', ');
}

export async function describeVersion(source: VersionSource): Promise<string> {
  if ('command' in source) return firstLine((await run(source.command)).stdout);
  if (Bun.which('dpkg-query') === null) return `${source.debian}, unknown version`;
  const { stdout } = await run(['dpkg-query', '--status', source.debian]);
  return `${source.debian} ${/^Version: (.*)$/m.exec(stdout)?.[1] ?? 'unknown'}`;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]?.trim() || 'unknown';
}
