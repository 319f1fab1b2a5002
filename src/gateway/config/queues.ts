/** The share of one data plane where the device has several queues: each serves its own flows. */
import type { StateLimits } from '../../stack/layout.ts';
import type { LiveConfig, PlaneBounds, QueuePlace, StartConfig } from '../messages/control.ts';
import { type Config, stateLimits } from './schema.ts';

type Share = Pick<Config, 'device' | 'limits' | 'conntrack'>;

/** What the state of one data plane is laid out for: the limits of the configuration are of all. */
export function queueLimits(config: Share): StateLimits {
  const { queues } = config.device;
  const limits = stateLimits(config);
  const { flowBuckets } = limits;
  const part = (whole: number) => Math.ceil(whole / queues);
  return {
    ...limits,
    flows: part(limits.flows),
    flowsPerSource: part(limits.flowsPerSource),
    ...(flowBuckets === undefined ? {} : { flowBuckets: part(flowBuckets) }),
    heldSyns: part(limits.heldSyns),
    heldSynsPerSource: part(limits.heldSynsPerSource),
    synCookiesFrom: part(limits.synCookiesFrom),
    timeWait: part(limits.timeWait),
    slabBytes: Math.max(part(limits.slabBytes), limits.slabBytesPerFlow),
  };
}

/** The part of a queue of what is fixed when data planes start. */
export const startOfQueue = (start: StartConfig, queue: QueuePlace): StartConfig =>
  queue.count === 1 ? start : { ...start, queue };

/** The part of a queue of the bounds, whose `limits` are those of each already. */
export const boundsOfQueue = (
  { limits, sessions: { limit, perSource }, claims }: PlaneBounds,
  count: number,
): PlaneBounds => ({
  limits,
  sessions: { limit: Math.ceil(limit / count), perSource: Math.ceil(perSource / count) },
  claims: Math.ceil(claims / count),
});

/**
 * The part of a queue of what can change. Each masquerades with ports of its own: two of them must
 * not give one to two flows.
 */
export function liveOfQueue(live: LiveConfig, index: number, count: number): LiveConfig {
  if (count === 1) return live;
  const [first, last] = live.nat.ports;
  const span = last - first + 1;
  const from = first + Math.floor((span * index) / count);
  const to = first + Math.floor((span * (index + 1)) / count) - 1;
  return {
    ...live,
    tarpit: { ...live.tarpit, limit: Math.ceil(live.tarpit.limit / count) },
    nat: {
      ...live.nat,
      ports: [from, Math.max(from, to)],
      portsPerSource: Math.ceil(live.nat.portsPerSource / count),
    },
    conntrack: {
      ...live.conntrack,
      perSource: Math.ceil(live.conntrack.perSource / count),
    },
  };
}
