/** The one schema of the config file: it validates, fills in defaults, and prints itself. */
import { z } from 'zod';
import { type StateLimits, stateBytes } from '../../stack/layout.ts';
import { CONGESTION_NAMES } from '../../stack/verdict.ts';
import { admin } from './admin-schema.ts';
import { device, deviceName } from './device-schema.ts';
import { describeKeys } from './keys.ts';
import { listener } from './listener-schema.ts';
import { conntrack, nat, natFaults } from './nat-schema.ts';
import { routes, withRouteMark } from './route-schema.ts';
import { scripts } from './script-schema.ts';
import { egressVia, upstreamFaults, upstreams } from './upstream-schema.ts';
import { duration, IDLE_MS_MAX, ipAddress, mark, size } from './values.ts';

const positive = z.int().positive();
const HOUR_MS = 3_600_000;
/** A SYN is held meanwhile: no client waits longer. */
const HELD_MS_MAX = HOUR_MS;
/** Below the 2^31 ms of a timer, and more than anybody waits for an end. */
const DRAIN_MS_MAX = 24 * HOUR_MS;

const timeouts = z.strictObject({
  decision: duration(1, HELD_MS_MAX).prefault('2s'),
  connect: duration(1, HELD_MS_MAX).prefault('10s'),
  idle: duration(0, IDLE_MS_MAX).prefault('1h'),
  halfClose: duration(0, IDLE_MS_MAX).prefault('5m'),
  keepalive: duration(0, IDLE_MS_MAX).prefault('2m'),
  user: duration(0, IDLE_MS_MAX).prefault('0s'),
  tarpit: duration(1000, IDLE_MS_MAX).prefault('1h'),
});

/** A few dozen superpackets; and half of what one mapping can hold. */
const SLAB_BYTES_MIN = 4 * 1024 * 1024;
const SLAB_BYTES_MAX = 2 * 1024 ** 3;
/** What one mapping of the data plane can hold: an ArrayBuffer has 32 bits. */
const STATE_BYTES_MAX = 2 ** 32 - 1;
/** Three superpackets: less would stall a flow for want of room. */
const SLAB_BYTES_PER_FLOW_MIN = 256 * 1024;

const limits = z
  .strictObject({
    flows: z.int().min(16).max(2_097_152).default(65_536),
    flowsPerSource: positive.optional(),
    heldSyns: z.int().min(1).max(32_768).default(1024),
    heldSynsPerSource: positive.optional(),
    synCookiesFrom: z.int().min(0).max(1_048_576).optional(),
    timeWait: z.int().min(1).max(1_048_576).default(8192),
    sessions: z.int().min(1).max(1_048_576).default(16_384),
    sessionsPerSource: positive.optional(),
    claims: z.int().min(1).max(16_384).default(1024),
    tarpit: z.int().min(0).max(1_048_576).default(1024),
    slabBytes: size.prefault('256MiB'),
    slabBytesPerFlow: size.prefault('4MiB'),
  })
  .transform((value) => ({
    ...value,
    // One source must not be able to hold a table: two thirds of it at most.
    flowsPerSource: value.flowsPerSource ?? Math.floor((value.flows * 2) / 3),
    heldSynsPerSource: value.heldSynsPerSource ?? Math.max(1, Math.floor((value.heldSyns * 2) / 3)),
    // Half of the table for SYNs, half for clients that have shown that they exist.
    synCookiesFrom: value.synCookiesFrom ?? Math.ceil(value.heldSyns / 2),
    // What a source loses is its own oldest session, so the bound may be tight.
    sessionsPerSource: value.sessionsPerSource ?? Math.max(1, Math.floor(value.sessions / 4)),
  }))
  .refine((value) => value.slabBytes >= SLAB_BYTES_MIN && value.slabBytes <= SLAB_BYTES_MAX, {
    path: ['slabBytes'],
    message: 'must be between 4MiB and 2GiB',
  })
  .refine((value) => value.slabBytesPerFlow >= SLAB_BYTES_PER_FLOW_MIN, {
    path: ['slabBytesPerFlow'],
    message: 'must be at least 256KiB',
  })
  .refine((value) => value.slabBytesPerFlow <= value.slabBytes, {
    path: ['slabBytesPerFlow'],
    message: 'is larger than slabBytes',
  })
  .refine((value) => value.heldSyns <= value.flows, {
    path: ['heldSyns'],
    message: 'is larger than flows',
  })
  .refine((value) => stateBytes(value) <= STATE_BYTES_MAX, {
    message: 'flows and slabBytes together need more than 4 GiB of memory',
  });

const tcp = z.strictObject({
  congestion: z.enum(CONGESTION_NAMES).default('cubic'),
  ecn: z.boolean().default(true),
});

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export const LOG_FORMATS = ['json', 'text', 'logfmt'] as const;
export const LOG_TIMES = ['rfc3339', 'epoch'] as const;

const log = z.strictObject({
  level: z.enum(LOG_LEVELS).default('info'),
  format: z.enum(LOG_FORMATS).default('json'),
  /** RFC 3339 with nanoseconds, or milliseconds since 1970. */
  time: z.enum(LOG_TIMES).default('rfc3339'),
  flows: z.boolean().default(true),
});

/** All listeners go to the data plane in one message; an alias makes many of few. */
const LISTENERS_MAX = 4 * 1024 * 1024;

const sections = z.strictObject({
  device: device.prefault({}),
  local: z.strictObject({ addresses: z.array(ipAddress).prefault([]) }).prefault({}),
  egress: z
    .strictObject({
      fwmark: mark.prefault(0),
      interface: z.union([deviceName, z.literal('')]).default(''),
      via: egressVia.optional(),
    })
    .prefault({}),
  upstreams: upstreams.prefault({}),
  routes: routes.prefault({}),
  listeners: z
    .array(listener)
    .refine((list) => new Set(list.map((item) => item.name)).size === list.length, {
      message: 'two listeners have the same name',
    })
    .refine((list) => JSON.stringify(list).length <= LISTENERS_MAX, {
      message: `are more than ${LISTENERS_MAX} characters as JSON`,
    })
    .prefault([]),
  nat: nat.prefault({}),
  conntrack: conntrack.prefault({}),
  scripts: scripts.prefault({}),
  timeouts: timeouts.prefault({}),
  limits: limits.prefault({}),
  tcp: tcp.prefault({}),
  admin: admin.prefault({}),
  log: log.prefault({}),
  /** Where what must outlive the process is kept; absent: the working folder, if it is there. */
  state: z.strictObject({ folder: z.string().min(1).optional() }).prefault({}),
  /** How long live flows may take to end after SIGTERM. */
  drain: duration(0, DRAIN_MS_MAX).prefault('10s'),
});

export const configSchema = sections
  .superRefine((config, context) => {
    for (const fault of natFaults(config)) context.addIssue({ code: 'custom', ...fault });
    for (const fault of upstreamFaults(config)) context.addIssue({ code: 'custom', ...fault });
  })
  .transform(({ conntrack, ...config }) => ({
    ...config,
    egress: withRouteMark(config),
    conntrack: {
      ...conntrack,
      // As with held SYNs: no source can fill the table alone.
      perSource: conntrack.perSource ?? Math.floor((config.limits.flows * 2) / 3),
    },
  }));

/** The capacities that the state of the data plane is laid out for. */
export const stateLimits = ({
  limits,
  conntrack: { buckets },
}: Pick<z.output<typeof sections>, 'limits' | 'conntrack'>): StateLimits =>
  buckets === undefined ? limits : { ...limits, flowBuckets: buckets };

/** A config that was read, with defaults filled in; durations in ms, sizes in bytes. */
export type Config = z.output<typeof configSchema>;
export type ConfigInput = z.input<typeof configSchema>;

/** The JSON Schema of a config file, for editors; each property says what it is for. */
export const configJsonSchema = () => describeKeys(z.toJSONSchema(configSchema, { io: 'input' }));
