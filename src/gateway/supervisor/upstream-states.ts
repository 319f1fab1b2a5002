/** How upstreams that have names are: what a configuration says, and what data planes tell. */
import type { UpstreamKind } from '../../stack/verdict.ts';
import type { Config } from '../config/schema.ts';
import { allUpstreams, type UpstreamConfig } from '../config/upstream-schema.ts';
import type { AddressReport, UpstreamEndpoint, UpstreamReport } from '../messages/upstreams.ts';

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

/** What was told last; a data plane that begins anew counts from 0. */
export class UpstreamStates {
  readonly #reports = new Map<string, UpstreamReport>();

  take(reports: readonly UpstreamReport[]): void {
    for (const report of reports) this.#reports.set(report.name, report);
  }

  /** All of a configuration, in its order. */
  of(config: Config): UpstreamState[] {
    return [...allUpstreams(config)].map(([name, upstream]) =>
      stateOf(name, upstream, this.#reports.get(name)),
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
  report: UpstreamReport | undefined,
): UpstreamState {
  const { kind, interface: device, fwmark, sources } = upstream;
  const addresses = endpointsOf(upstream).map((endpoint) => addressOf(endpoint, report));
  const { connects = 0, failures = 0, connectUs = 0 } = report ?? {};
  const active = addresses.reduce((sum, address) => sum + address.active, 0);
  return {
    ...{ name, kind },
    ...(kind === 'pool' ? { policy: upstream.policy } : {}),
    ...(kind === 'proxy' ? { protocol: upstream.protocol } : {}),
    ...(device === undefined ? {} : { interface: device }),
    ...(fwmark === undefined ? {} : { fwmark }),
    ...(sources.length === 0 ? {} : { source: sources }),
    healthy: kind === 'egress' || addresses.some(({ healthy }) => healthy),
    ...(kind === 'egress' ? {} : { active }),
    ...{ connects, failures, connect_seconds: connectUs / US_PER_S, addresses },
  };
}

function endpointsOf(upstream: UpstreamConfig): readonly UpstreamEndpoint[] {
  if (upstream.kind === 'egress') return [];
  return upstream.kind === 'pool' ? upstream.addresses : [upstream.address];
}

function addressOf({ ip, port }: UpstreamEndpoint, report: UpstreamReport | undefined) {
  const address = ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
  const told = report?.addresses.find((one) => one.address === address);
  return told ?? { address, healthy: true, active: 0, connects: 0, failures: 0 };
}
