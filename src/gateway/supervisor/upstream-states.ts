/** How upstreams that have names are: what a configuration says, and what data planes tell. */
import { Histogram as Cells } from '../../stack/histograms.ts';
import type { UpstreamKind } from '../../stack/verdict.ts';
import type { Config } from '../config/schema.ts';
import { allUpstreams, type UpstreamConfig } from '../config/upstream-schema.ts';
import type { AddressReport, UpstreamEndpoint, UpstreamReport } from '../messages/upstreams.ts';
import { boundsOf, Histogram } from './metrics/histogram.ts';

/** An upstream, named as in the API. */
export interface UpstreamState {
  readonly name: string;
  readonly kind: UpstreamKind;
  /** Of a pool; of a proxy it is `socks5` or `http`. */
  readonly policy?: string;
  readonly protocol?: string;
  readonly interface?: string;
  readonly fwmark?: number;
  readonly source?: readonly string[];
  /** One address at least is. */
  readonly healthy: boolean;
  /** Flows and dials; of an egress they are not counted. */
  readonly active?: number;
  /** Dials since the data plane started, one for each address that was tried. */
  readonly connects: number;
  readonly failures: number;
  /** Sum of those that succeeded. */
  readonly connect_seconds: number;
  readonly addresses: readonly AddressReport[];
}

const US_PER_S = 1_000_000;

/** What each queue has told last; a data plane that begins anew counts from 0. */
export class UpstreamStates {
  /** By queue, and then by name. */
  readonly #queues: Map<string, UpstreamReport>[] = [];

  take(queue: number, reports: readonly UpstreamReport[]): void {
    const known = this.#queues[queue] ?? new Map<string, UpstreamReport>();
    this.#queues[queue] = known;
    for (const report of reports) known.set(report.name, report);
  }

  /** How long the dials by an upstream took that succeeded, in seconds. */
  connectTimes(name: string): Histogram {
    const histogram = new Histogram(boundsOf(Cells.DIAL_US, US_PER_S));
    for (const known of this.#queues) {
      const report = known?.get(name);
      histogram.sum += (report?.connectUs ?? 0) / US_PER_S;
      for (const [bucket, count] of report?.connectBuckets.entries() ?? []) {
        if (bucket < histogram.counts.length) histogram.counts[bucket]! += count;
      }
    }
    return histogram;
  }

  /** All of a configuration, in its order. */
  of(config: Config): UpstreamState[] {
    return [...allUpstreams(config)].map(([name, upstream]) =>
      stateOf(
        name,
        upstream,
        this.#queues.flatMap((known) => known?.get(name) ?? []),
      ),
    );
  }
}

/** For `culvert status`. */
export const countUpstreams = (states: readonly UpstreamState[]) => ({
  total: states.length,
  unhealthy: states.filter(({ healthy }) => !healthy).map(({ name }) => name),
});

function stateOf(
  name: string,
  upstream: UpstreamConfig,
  reports: readonly UpstreamReport[],
): UpstreamState {
  const { kind, interface: device, fwmark, sources } = upstream;
  const addresses = endpointsOf(upstream).map((endpoint) => addressOf(endpoint, reports));
  const connectUs = sumOf(reports, 'connectUs');
  return {
    ...{ name, kind },
    ...(kind === 'pool' ? { policy: upstream.policy } : {}),
    ...(kind === 'proxy' ? { protocol: upstream.protocol } : {}),
    ...(device === undefined ? {} : { interface: device }),
    ...(fwmark === undefined ? {} : { fwmark }),
    ...(sources.length === 0 ? {} : { source: sources }),
    healthy: kind === 'egress' || addresses.some(({ healthy }) => healthy),
    ...(kind === 'egress' ? {} : { active: sumOf(addresses, 'active') }),
    connects: sumOf(reports, 'connects'),
    failures: sumOf(reports, 'failures'),
    connect_seconds: connectUs / US_PER_S,
    addresses,
  };
}

function endpointsOf(upstream: UpstreamConfig): readonly UpstreamEndpoint[] {
  if (upstream.kind === 'egress') return [];
  return upstream.kind === 'pool' ? upstream.addresses : [upstream.address];
}

/** One queue that leaves it out is enough: others may have had no flow for it. */
function addressOf(
  { ip, port }: UpstreamEndpoint,
  reports: readonly UpstreamReport[],
): AddressReport {
  const address = ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
  const told = reports.flatMap(({ addresses }) =>
    addresses.filter((one) => one.address === address),
  );
  const error = told.find(({ last_error }) => last_error !== undefined)?.last_error;
  return {
    address,
    healthy: told.every(({ healthy }) => healthy),
    active: sumOf(told, 'active'),
    connects: sumOf(told, 'connects'),
    failures: sumOf(told, 'failures'),
    ...(error === undefined ? {} : { last_error: error }),
  };
}

const sumOf = <Key extends string>(
  list: readonly Readonly<Record<Key, number>>[],
  key: Key,
): number => list.reduce((sum, one) => sum + one[key], 0);
