/** Live flows as a table. */
import type { z } from 'zod';
import type { flow as flowSchema } from '../supervisor/api/schemas.ts';
import { formatBytes, formatSpan, formatTable } from './output.ts';

type Flow = z.output<typeof flowSchema>;

const HEADS = [
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
];

export const flowTable = (flows: readonly Flow[]): string => formatTable(HEADS, flows.map(row));

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

/** `10.0.0.1:443`, `[fd00::1]:443` */
export const address = (ip: string, port: number): string =>
  ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
