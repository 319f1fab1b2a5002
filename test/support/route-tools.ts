/** ping and traceroute, and what they say. */
import type { Topology } from './netns.ts';

export type TracerouteMode = 'udp' | 'icmp' | 'tcp';

const MODE_FLAGS: Record<TracerouteMode, readonly string[]> = {
  udp: [],
  icmp: ['-I'],
  tcp: ['-T', '-p', '9'],
};

/** Further than any path of the tests. */
const MAX_HOPS = 8;

/** The address that answered at each hop, `*` for none, from the client of a topology. */
export async function traceroute(
  topology: Topology,
  host: string,
  mode: TracerouteMode,
): Promise<string[]> {
  const limits = ['-n', '-q', '1', '-w', '2', '-m', `${MAX_HOPS}`];
  const argv = ['traceroute', ...MODE_FLAGS[mode], ...limits, host];
  const { code, stdout, stderr } = await topology.run(topology.client, ...argv);
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit ${code}: ${stderr}`);
  return parseTraceroute(stdout);
}

/** Lines such as ` 2  10.99.0.2  0.031 ms !H`. */
export function parseTraceroute(text: string): string[] {
  return [...text.matchAll(/^ *\d+ {2}(\S+)/gm)].map(([, hop = '']) => hop);
}

export interface PingReport {
  readonly sent: number;
  readonly received: number;
  /** Errors as ping words them, with who sent each: `10.99.0.2 Destination Host Unreachable`. */
  readonly errors: readonly string[];
}

/** ping of Debian's iputils in the client's namespace, with more arguments before the host. */
export async function ping(
  topology: Topology,
  host: string,
  ...flags: string[]
): Promise<PingReport> {
  const argv = ['ping', '-n', '-i', '0.2', '-W', '2', '-c', '3', ...flags, host];
  const { stdout, stderr } = await topology.run(topology.client, ...argv);
  return parsePing(stdout + stderr);
}

export function parsePing(text: string): PingReport {
  const totals = /(\d+) packets transmitted, (\d+) received/.exec(text);
  if (totals === null) throw new Error(`ping: ${text}`);
  const errors = [...text.matchAll(/^From (\S+?):? icmp_seq=\d+ (.+)$/gm)];
  return {
    sent: Number(totals[1]),
    received: Number(totals[2]),
    errors: [...new Set(errors.map(([, from, what]) => `${from} ${what?.trim()}`))],
  };
}
