/**
 * Reads what children say. A script host runs code of strangers, so its messages are data from
 * outside; the data plane is read the same way, because a check costs nothing there.
 */
import { z } from 'zod';
import type { SocketInfo } from '../../ffi/tcp-info.ts';
import {
  HISTOGRAM_BOUNDS,
  LABEL_LENGTH,
  LABELS_MAX,
  METRIC_NAME,
} from '../../scripts-runtime/metrics/script-metrics.ts';
import type { TestReport } from '../../scripts-runtime/offline/report.ts';
import type { ShownVerdict } from '../../scripts-runtime/verdict/show-verdict.ts';
import { scriptName } from '../config/script-schema.ts';
import type { FromDataPlane } from '../messages/control.ts';
import type { FromScriptHost } from '../messages/script-control.ts';

const count = z.number().nonnegative();
const scalar = z.union([z.string(), z.number(), z.boolean()]);

const socketInfo: z.ZodType<SocketInfo> = z.object({
  state: count,
  mss: count,
  pmtu: count,
  rttUs: count,
  rttvarUs: count,
  minRttUs: count,
  rtoUs: count,
  cwnd: count,
  ssthresh: count,
  unacked: count,
  sacked: count,
  lost: count,
  retrans: count,
  notSent: count,
  pacingRate: count,
  deliveryRate: count,
  lastSentMs: count,
  lastReceivedMs: count,
});

const upstreamReport = z.object({
  name: z.string(),
  connects: count,
  failures: count,
  connectUs: count,
  connectBuckets: z.array(count),
  addresses: z.array(
    z.object({
      address: z.string(),
      healthy: z.boolean(),
      active: count,
      connects: count,
      failures: count,
      last_error: z.string().exactOptional(),
    }),
  ),
});

const fromDataPlane: z.ZodType<FromDataPlane> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ready') }),
  z.object({ kind: z.literal('killed'), id: count, count }),
  z.object({
    kind: z.literal('inspected'),
    id: count,
    sockets: z.array(z.object({ serial: count, socket: socketInfo })),
  }),
  z.object({ kind: z.literal('drained'), cut: count }),
  z.object({ kind: z.literal('upstreams'), upstreams: z.array(upstreamReport) }),
  z.object({ kind: z.literal('device'), id: count, error: z.string().exactOptional() }),
  z.object({ kind: z.literal('device-released') }),
  z.object({ kind: z.literal('host-socket-shut'), socket: z.enum(['decisions', 'conns']) }),
  z.object({ kind: z.literal('host-sockets'), error: z.string().exactOptional() }),
  z.object({ kind: z.literal('device-state'), state: z.enum(['up', 'down', 'gone']) }),
  z.object({
    kind: z.literal('log'),
    level: z.enum(['info', 'warn', 'error']),
    event: z.string(),
    fields: z.record(z.string(), scalar),
  }),
]);

const scriptIssue = z.object({
  script: z.string(),
  file: z.string(),
  line: count,
  column: count,
  kind: z.string(),
  message: z.string(),
});

const kvEntry = z.object({
  script: z.string(),
  key: z.string(),
  value: z.union([z.string(), z.number()]).exactOptional(),
  expiresAt: z.number().exactOptional(),
});

const scriptStats = z.object({
  script: z.string(),
  generation: count,
  decisions: count,
  errors: count,
  limitHits: z.record(z.string(), count),
  cpuUs: count,
  disabled: z.boolean(),
});

/** What a script can have measured; names stand as they are in a text that is kept. */
const metricName = z.string().regex(METRIC_NAME);
const metricLabels = z
  .record(metricName, z.string().max(LABEL_LENGTH))
  .refine((labels) => Object.keys(labels).length <= LABELS_MAX, 'too many labels');

const metricDelta = z.object({
  script: scriptName,
  name: metricName,
  kind: z.enum(['counter', 'gauge', 'histogram']),
  labels: metricLabels,
  value: z.number(),
  buckets: z
    .array(count)
    .max(HISTOGRAM_BOUNDS.length + 1)
    .exactOptional(),
});

const endpoint = z.object({
  ip: z.string(),
  port: count,
  family: z.union([z.literal(4), z.literal(6)]),
});
const recordedFlow = z.object({
  protocol: z.enum(['tcp', 'udp', 'icmp']),
  source: endpoint,
  destination: endpoint,
  syn: z.object({ mss: count, windowScale: count, ttl: count, ecn: z.boolean() }).exactOptional(),
  dnsName: z.string().exactOptional(),
  atMs: z.number().exactOptional(),
});
const decidedFlow = z.object({
  flow: recordedFlow,
  serial: count,
  verdict: z.string(),
  generation: count,
});
const scriptLog = z.object({
  level: z.enum(['debug', 'info', 'warn', 'error']),
  script: z.string(),
  generation: count,
  flow: count.exactOptional(),
  message: z.string(),
  fields: z.record(z.string(), z.unknown()).exactOptional(),
});
const shownVerdict = z.custom<ShownVerdict>(
  (value) => z.looseObject({ kind: z.string() }).safeParse(value).success,
);
const explainedVerdict = z.object({
  verdict: shownVerdict,
  script: z.string().exactOptional(),
  steps: z.array(z.object({ script: z.string(), outcome: z.string(), cpuUs: count })),
  logs: z.array(scriptLog),
  logsLeft: count,
  cpuUs: count,
});
const askedVerdict = z.object({
  kind: z.string(),
  to: z.string().exactOptional(),
  text: z.string(),
  explained: explainedVerdict.exactOptional(),
});

const testFailure = z.object({
  message: z.string(),
  position: z.object({ file: z.string(), line: count, column: count }).exactOptional(),
});
const testLog = scriptLog.pick({ level: true, script: true, message: true, fields: true });
const testReport: z.ZodType<TestReport> = z.object({
  ok: z.boolean(),
  passed: count,
  failed: count,
  skipped: count,
  files: z.array(
    z.object({
      script: z.string(),
      file: z.string(),
      tests: z.array(
        z.object({
          path: z.array(z.string()),
          outcome: z.enum(['passed', 'failed', 'skipped']),
          tookMs: count,
          failure: testFailure.exactOptional(),
          logs: z.array(testLog).exactOptional(),
          logsLeft: count.exactOptional(),
        }),
      ),
      failure: testFailure.exactOptional(),
      output: z.array(z.string()),
    }),
  ),
  coverage: z.record(z.string(), z.array(count)).exactOptional(),
});

const fromScriptHost: z.ZodType<FromScriptHost> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ready') }),
  z.object({ kind: z.literal('loaded'), generation: count, closers: z.array(z.string()) }),
  z.object({ kind: z.literal('closed-told') }),
  z.object({ kind: z.literal('load-failed'), generation: count, issues: z.array(scriptIssue) }),
  z.object({ kind: z.literal('resolve'), id: count, name: z.string() }),
  scriptLog.extend({ kind: z.literal('log') }),
  z.object({ kind: z.literal('kv'), entries: z.array(kvEntry) }),
  z.object({ kind: z.literal('metrics'), series: z.array(metricDelta) }),
  z.object({ kind: z.literal('stats'), scripts: z.array(scriptStats) }),
  z.object({ kind: z.literal('promoted'), generation: count, isDone: z.boolean() }),
  z.object({
    kind: z.literal('canary'),
    generation: count,
    decisions: count,
    failures: count,
    stopped: z.string().exactOptional(),
  }),
  z.object({ kind: z.literal('generations'), numbers: z.array(count) }),
  z.object({ kind: z.literal('decided'), flows: z.array(decidedFlow), left: count }),
  z.object({ kind: z.literal('recent'), flows: z.array(decidedFlow) }),
  z.object({ kind: z.literal('tested'), passed: count, failures: z.array(scriptIssue) }),
  z.object({ kind: z.literal('testing'), test: z.string() }),
  z.object({ kind: z.literal('reported'), report: testReport }),
  z.object({ kind: z.literal('asked'), id: count, verdicts: z.array(askedVerdict) }),
]);

/** @throws z.ZodError  for what is no message */
export const parseFromDataPlane = (message: unknown): FromDataPlane => fromDataPlane.parse(message);

/** @throws z.ZodError  for what is no message */
export const parseFromScriptHost = (message: unknown): FromScriptHost =>
  fromScriptHost.parse(message);
