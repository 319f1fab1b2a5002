/** Shapes of `?view=tcp`: see supervisor/flows/flow-info.ts. */
import { z } from 'zod';
import { query } from './query.ts';
import { flow, flowsQuery } from './schemas.ts';

const numbers = <const Names extends readonly string[]>(...names: Names) =>
  Object.fromEntries(names.map((name) => [name, z.number()])) as Record<Names[number], z.ZodNumber>;

const BOTH_ENDS = ['mss', 'pmtu', 'rtt_ms', 'rttvar_ms', 'min_rtt_ms', 'rto_ms', 'cwnd'] as const;
const LAST = ['sacked', 'lost', 'last_sent_ms', 'last_received_ms'] as const;

const tcp = z.object({
  congestion: z.string(),
  recovery: z.string(),
  dialled: z.boolean(),
  options: z.array(z.string()),
  snd_wscale: z.number().optional(),
  rcv_wscale: z.number().optional(),
  ssthresh: z.number().optional(),
  pacing_rate: z.number().optional(),
  delivery_rate: z.number().optional(),
  slabs: z.object(numbers('send', 'backlog', 'early')),
  timers: z.record(z.string(), z.number()),
  ...numbers(...BOTH_ENDS, ...LAST),
  ...numbers('rcv_mss', 'backoff', 'in_flight', 'snd_wnd', 'rcv_wnd'),
  ...numbers('bytes_sent', 'bytes_acked', 'bytes_received'),
});
const socket = z.object({
  state: z.string(),
  ...numbers(...BOTH_ENDS, ...LAST),
  ...numbers('ssthresh', 'unacked', 'retrans', 'notsent', 'pacing_rate', 'delivery_rate'),
});

const view = z.enum(['flow', 'tcp']).default('flow');
export const flowsViewQuery = flowsQuery.extend({ view });
export const flowViewQuery = query({ view });
/** `tcp` and `socket` where they were asked for, and are there. */
export const flowInfo = flow.extend({ tcp: tcp.optional(), socket: socket.optional() });
export const flowInfos = z.object({ flows: z.array(flowInfo), next: z.number().optional() });
