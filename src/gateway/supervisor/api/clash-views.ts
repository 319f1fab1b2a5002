/** Flows, traffic and log lines in the shapes that dashboards of Clash know. */
import { z } from 'zod';
import type { LiveFlowView } from '../flows/live-flows.ts';

const metadata = z.object({
  network: z.string(),
  type: z.string(),
  sourceIP: z.string(),
  destinationIP: z.string(),
  /** Text, as it always was there. */
  sourcePort: z.string(),
  destinationPort: z.string(),
  host: z.string(),
  dnsMode: z.string(),
  processPath: z.string(),
});

const connection = z.object({
  id: z.string(),
  metadata,
  upload: z.number(),
  download: z.number(),
  start: z.string(),
  chains: z.array(z.string()),
  rule: z.string(),
  rulePayload: z.string(),
});
export const connections = z.object({
  uploadTotal: z.number(),
  downloadTotal: z.number(),
  connections: z.array(connection),
});
/** Bytes in the last second, and in all. */
export const traffic = z.object({
  up: z.number(),
  down: z.number(),
  upTotal: z.number(),
  downTotal: z.number(),
});
export const logLine = z.object({ type: z.string(), payload: z.string() });

export function viewConnection(flow: LiveFlowView): z.output<typeof connection> {
  return {
    id: flow.id,
    metadata: {
      network: flow.proto,
      type: 'Tun',
      sourceIP: flow.src,
      destinationIP: flow.dst,
      sourcePort: String(flow.src_port),
      destinationPort: String(flow.dst_port),
      host: flow.sniff?.sni ?? flow.sniff?.host ?? flow.dns_name ?? '',
      dnsMode: 'normal',
      processPath: '',
    },
    upload: flow.bytes_up,
    download: flow.bytes_down,
    start: flow.start,
    // Nearest to the destination first.
    chains: [flow.upstream ?? flow.upstream_addr ?? flow.verdict],
    rule: flow.decider,
    rulePayload: flow.script ?? flow.rule ?? '',
  };
}

const LEVELS = ['debug', 'info', 'warn', 'error'];
/** Clash spells one of them out. */
export const levelOf = (level: string): string => (level === 'warning' ? 'warn' : level);

/**
 * A line of pino as one of Clash.
 *
 * @param least  undefined is returned for what is below
 */
export function viewLogLine(line: string, least: string): z.output<typeof logLine> | undefined {
  const { level, time: _, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const name = String(level);
  if (LEVELS.indexOf(name) < LEVELS.indexOf(least)) return undefined;
  const words = Object.entries(fields).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  const type = name === 'warn' ? 'warning' : name;
  return { type, payload: [String(msg ?? ''), ...words].join(' ') };
}
