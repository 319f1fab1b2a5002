/** Shapes of the API, from which the OpenAPI document is made. */
import { z } from 'zod';
import { scriptName } from '../../config/script-schema.ts';
import { duration } from '../../config/values.ts';
import { FLOW_EVENT_NAMES } from '../flows/event-ring.ts';
import { NOTICE_NAMES } from '../notices.ts';
import { ORIGINS } from '../scripts/generation.ts';
import { REVALIDATE_MODES } from '../scripts/revalidation.ts';
import { query } from './query.ts';

const PAGE_DEFAULT = 100;
const PAGE_MAX = 10_000;

/** `?force`, `?force=true`, `?force=1` */
export const flag = z
  .enum(['', 'true', '1', 'false', '0'])
  .transform((text) => text !== 'false' && text !== '0')
  .optional();

const PERCENT_MAX = 100;
const CANARY_MS_MAX = 24 * 3_600_000;

export const changeQuery = query({
  force: flag,
  dry_run: flag,
  /** Percent of new flows: `10`, `10%`, `0` for none whatever the config says. */
  canary: z
    .string()
    .regex(/^\d+(\.\d+)?%?$/, 'expected a percentage')
    .transform((text) => Number.parseFloat(text))
    .pipe(z.number().min(0).max(PERCENT_MAX))
    .meta({ examples: ['10', '2.5%'] })
    .optional(),
  /** How long a canary is tried before it takes over; `0s`: until it is promoted. */
  canary_for: duration(0, CANARY_MS_MAX)
    .meta({ examples: ['5m'] })
    .optional(),
  shadow: flag,
  /** Live flows that the new bundle decides otherwise are kept, told of, or ended. */
  revalidate: z.enum(REVALIDATE_MODES).default('keep'),
});
export type ChangeQuery = z.output<typeof changeQuery>;
/** Below the idle timeout of the API and what the CLI waits. */
const WAIT_MS_MAX = 200_000;
export const reloadQuery = changeQuery.extend({
  wait: duration(0, WAIT_MS_MAX)
    .meta({ examples: ['10s'] })
    .prefault('0s'),
});
export const reloadParam = z.object({ id: z.string() });
export const rollbackQuery = changeQuery.extend({
  to: z.coerce.number().int().positive().optional(),
});
const filter = z
  .string()
  .meta({ examples: ['src in 10.0.0.0/8 and dport = 443'] })
  .default('');

export const flowsQuery = query({
  filter,
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(PAGE_DEFAULT),
  from: z.coerce.number().int().min(0).default(0),
});
/** What is meant must be said: an empty filter is no way to ask for all. */
export const killQuery = query({
  filter,
  all: flag,
  dry_run: flag,
});
export const filterQuery = query({ filter });
export const eventsQuery = filterQuery.extend({
  /** `NEW,DESTROY` */
  type: z
    .string()
    .transform((text) => text.toUpperCase().split(','))
    .pipe(z.array(z.enum([...FLOW_EVENT_NAMES, ...NOTICE_NAMES])))
    .meta({ examples: ['NEW,DESTROY', 'RELOAD,AUDIT'] })
    .optional(),
});
export const eventsHeader = z.object({ 'last-event-id': z.string().optional() });
export const dropsQuery = query({ all: flag });
export const scriptParam = z.object({ name: scriptName });
export const flowParam = z.object({ id: z.string() });

export const problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number(),
  detail: z.string(),
  errors: z
    .array(
      z.object({
        path: z.string(),
        message: z.string(),
        line: z.number().optional(),
        column: z.number().optional(),
      }),
    )
    .optional(),
});
export type Problem = z.output<typeof problem>;

export const readiness = z.object({ ready: z.boolean(), reasons: z.array(z.string()) });

export const generation = z.object({
  number: z.number(),
  hash: z.string(),
  origin: z.enum(ORIGINS),
  copy_of: z.number().optional(),
  created_at: z.string(),
  active: z.boolean(),
  scripts: z.array(z.string()),
});

export const generations = z.object({ active: z.number(), generations: z.array(generation) });

const difference = z.object({ flow: z.string(), before: z.string(), after: z.string() });

/** What new scripts decide otherwise than those before, about flows of late. */
const replay = z.object({
  flows: z.number(),
  different: z.number(),
  failed: z.number(),
  differences: z.array(difference),
  problem: z.string().optional(),
});

export const trial = z.object({
  mode: z.enum(['canary', 'shadow']),
  generation,
  /** Of a canary: percent of new flows, and milliseconds until it takes over. */
  share: z.number().optional(),
  for_ms: z.number().optional(),
  decisions: z.number(),
  failures: z.number(),
  /** Of a shadow. */
  different: z.number().optional(),
  skipped: z.number().optional(),
  differences: z.array(difference).optional(),
});

export const change = z.object({
  changed: z.boolean(),
  dry_run: z.boolean(),
  generation,
  /** It is on trial, and not active yet. */
  trial: z.enum(['canary', 'shadow']).optional(),
  /** Tests of the scripts that passed. */
  tests: z.number().optional(),
  replay: replay.optional(),
  /** How far it is with live flows. */
  revalidation: z
    .object({
      mode: z.enum(REVALIDATE_MODES),
      over: z.boolean(),
      asked: z.number(),
      different: z.number(),
      failed: z.number(),
      closed: z.number(),
      differences: z.array(difference),
      problem: z.string().optional(),
    })
    .optional(),
});

export const reload = z.object({
  id: z.string(),
  state: z.enum(['validating', 'applying', 'draining', 'done', 'failed']),
  started_at: z.string(),
  ended_at: z.string().optional(),
  /** From `draining` on. */
  change: change.optional(),
  /** Of one that failed: nothing was changed. */
  problem: problem.optional(),
});
export const reloads = z.object({ reloads: z.array(reload) });
/** A reload whose outcome was waited for. */
export const reloaded = change.extend({
  reload_id: z.string(),
  state: z.enum(['draining', 'done']),
});

const script = z.object({
  name: z.string(),
  file: z.string(),
  bytes: z.number(),
  generation: z.number(),
  decisions: z.number(),
  errors: z.number(),
  limit_hits: z.record(z.string(), z.number()),
  cpu_ms: z.number(),
  disabled: z.boolean(),
});
export const scripts = z.object({
  generation: z.number(),
  scripts: z.array(script),
  /** Of each of them, in the unit that ends the name. */
  limits: z.record(z.string(), z.number()),
});

export const flow = z.object({
  id: z.string(),
  proto: z.string(),
  src: z.string(),
  src_port: z.number(),
  dst: z.string(),
  dst_port: z.number(),
  iface: z.string(),
  /** What the client speaks, where a script has looked. */
  sniff: z
    .object({
      proto: z.string(),
      sni: z.string().optional(),
      host: z.string().optional(),
      alpn: z.array(z.string()).readonly().optional(),
    })
    .optional(),
  /** The name that the script gave for the upstream, else the one that the client asked DNS for. */
  dns_name: z.string().optional(),
  /** The name that the client asked DNS for, where that was seen. */
  seen_name: z.string().optional(),
  phase: z.string(),
  state: z.string(),
  carrier: z.string(),
  verdict: z.string(),
  decider: z.string(),
  script: z.string().optional(),
  script_version: z.number().optional(),
  rule: z.string().optional(),
  upstream: z.string().optional(),
  upstream_addr: z.string().optional(),
  nat_addr: z.string().optional(),
  /** `dial-first`, `accept-first` or `cookie`. */
  handshake: z.string().optional(),
  start: z.string(),
  duration_ms: z.number(),
  decision_ms: z.number(),
  connect_ms: z.number(),
  ttfb_ms: z.number().optional(),
  bytes_up: z.number(),
  bytes_down: z.number(),
  pkts_up: z.number(),
  pkts_down: z.number(),
  retrans: z.number(),
  rtt_ms: z.number(),
});

/** `flows`: the first of those that would be ended, in a dry run only. */
export const killed = z.object({
  dry_run: z.boolean(),
  matched: z.number(),
  killed: z.number(),
  flows: z.array(flow).optional(),
});

const tuple = z.object({
  src: z.string(),
  dst: z.string(),
  sport: z.number().optional(),
  dport: z.number().optional(),
  icmp_id: z.number().optional(),
  packets: z.number(),
  bytes: z.number(),
});
const conntrackEntry = z.object({
  id: z.string(),
  family: z.union([z.literal(4), z.literal(6)]),
  proto: z.string(),
  carrier: z.string(),
  state: z.string(),
  expires_ms: z.number().optional(),
  replied: z.boolean(),
  assured: z.boolean(),
  original: tuple,
  reply: tuple,
});
export type ConntrackEntry = z.output<typeof conntrackEntry>;
export const conntrack = z.object({
  entries: z.array(conntrackEntry),
  next: z.number().optional(),
});
export const conntrackCount = z.object({ count: z.number(), limit: z.number() });

const reasonCount = z.object({ reason: z.string(), count: z.number() });
export type ReasonCount = z.output<typeof reasonCount>;
const dropCount = reasonCount.extend({ layer: z.string() });
export type DropCount = z.output<typeof dropCount>;
export const drops = z.object({ drops: z.array(dropCount), closes: z.array(reasonCount) });

export const status = z.object({
  state: z.enum(['starting', 'running', 'draining']),
  not_ready: z.array(z.string()),
  version: z.string(),
  commit: z.string(),
  bun: z.string(),
  pid: z.number(),
  uptime_seconds: z.number(),
  config: z.object({ file: z.string().optional(), generation: z.number() }),
  device: z.object({
    name: z.string(),
    mtu: z.number(),
    up: z.boolean(),
    offload: z.boolean(),
  }),
  /** `pid` is that of the first queue. */
  data_plane: z.object({
    pid: z.number().optional(),
    pids: z.array(z.number()),
    restarts: z.number(),
  }),
  script_host: z.object({
    state: z.enum(['idle', 'running', 'waiting']),
    pid: z.number().optional(),
    restarts: z.record(z.string(), z.number()),
  }),
  generation: z.object({ number: z.number(), hash: z.string() }),
  scripts: z.array(script),
  flows: z.object({ active: z.number(), total: z.number(), limit: z.number() }),
  upstreams: z.object({ total: z.number(), unhealthy: z.array(z.string()) }),
});
export type Status = z.output<typeof status>;
