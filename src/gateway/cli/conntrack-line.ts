/** An entry of connection tracking on one line, as `conntrack -L` has it. */
import type { ConntrackEntry } from '../supervisor/api/schemas.ts';
import { protocolNumber } from '../supervisor/flows/conntrack-view.ts';

type Tuple = ConntrackEntry['original'];

const NAME_WIDTH = 8;

/** Types of an echo request and of its reply: RFC 792, RFC 4443 §4. */
const ECHO_TYPES = { 4: { original: 8, reply: 0 }, 6: { original: 128, reply: 129 } } as const;

/**
 * `tcp      6 431999 ESTABLISHED src=… dst=… sport=… dport=… packets=… bytes=… src=… [ASSURED] …`;
 * behind what conntrack prints, who carries the flow and its id.
 */
export function conntrackLine(entry: ConntrackEntry): string {
  const { proto, family, expires_ms: expiresMs } = entry;
  const number = protocolNumber(proto, family);
  return [
    `${nameOf(entry).padEnd(NAME_WIDTH)} ${number}`,
    expiresMs === undefined ? '-' : String(Math.floor(expiresMs / 1000)),
    ...(proto === 'tcp' ? [entry.state] : []),
    tuple(entry.original, ECHO_TYPES[family].original),
    ...(entry.replied ? [] : ['[UNREPLIED]']),
    tuple(entry.reply, ECHO_TYPES[family].reply),
    ...(entry.assured ? ['[ASSURED]'] : []),
    `carrier=${entry.carrier}`,
    `flow=${entry.id}`,
  ].join(' ');
}

function nameOf({ proto, family }: ConntrackEntry): string {
  if (proto === 'icmp' && family === 6) return 'icmpv6';
  return /^\d+$/.test(proto) ? 'unknown' : proto;
}

function tuple({ src, dst, sport, dport, icmp_id: icmpId, packets, bytes }: Tuple, type: number) {
  return [
    `src=${src} dst=${dst}`,
    ...(sport === undefined ? [] : [`sport=${sport} dport=${dport}`]),
    ...(icmpId === undefined ? [] : [`type=${type} code=0 id=${icmpId}`]),
    `packets=${packets} bytes=${bytes}`,
  ].join(' ');
}
