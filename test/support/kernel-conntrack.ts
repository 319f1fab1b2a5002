/** The kernel's table of tracked flows, as `conntrack -L` of conntrack-tools prints it. */
import type { Topology } from './netns.ts';

export interface TrackedTuple {
  readonly src: string;
  readonly dst: string;
  /** Absent of ICMP. */
  readonly sport?: number;
  readonly dport?: number;
}

export interface TrackedFlow {
  readonly proto: 'tcp' | 'udp' | 'icmp';
  /** Of TCP, `SYN_SENT`; of others what the flags say: `UNREPLIED`, `REPLIED`, `STREAM`. */
  readonly state: string;
  readonly replied: boolean;
  readonly assured: boolean;
  readonly original: TrackedTuple;
  readonly reply: TrackedTuple;
}

export function kernelConntrack(topology: Topology): TrackedFlow[] {
  const list = (family: string) => topology.exec(topology.gw, 'conntrack', '-L', '-f', family);
  return `${list('ipv4')}\n${list('ipv6')}`.split('\n').flatMap(parseConntrackLine);
}

/** Nothing of a line that is about another protocol. */
export function parseConntrackLine(line: string): TrackedFlow[] {
  const [, word] = /^(tcp|udp|icmp(?:v6)?) /.exec(line) ?? [];
  if (word === undefined) return [];
  const proto = word.startsWith('icmp') ? 'icmp' : (word as 'tcp' | 'udp');
  const replied = !line.includes('[UNREPLIED]');
  const assured = line.includes('[ASSURED]');
  const [original, reply] = line.split(/(?=src=)/).slice(1);
  if (original === undefined || reply === undefined) throw new Error(`conntrack: ${line}`);
  const seen = assured ? 'STREAM' : replied ? 'REPLIED' : 'UNREPLIED';
  const state = proto === 'tcp' ? (/ \d+ ([A-Z_]+\d?) /.exec(line)?.[1] ?? '') : seen;
  return [{ proto, state, replied, assured, original: tuple(original), reply: tuple(reply) }];
}

function tuple(text: string): TrackedTuple {
  const field = (name: string): string | undefined =>
    new RegExp(`\\b${name}=(\\S+)`).exec(text)?.[1];
  const ports = { sport: Number(field('sport')), dport: Number(field('dport')) };
  const ends = { src: field('src') ?? '', dst: field('dst') ?? '' };
  return field('sport') === undefined ? ends : { ...ends, ...ports };
}
