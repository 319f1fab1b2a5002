/** Upstreams by name, as the data plane is told of them, and what it tells about them. */
import type { UpstreamKind } from '../../stack/verdict.ts';

/** How a pool chooses: which of its addresses a flow tries first. */
export const POOL_POLICIES = [
  'round-robin',
  'least-connections',
  'source-hash',
  'failover',
] as const;
export type PoolPolicy = (typeof POOL_POLICIES)[number];

/** An address that is dialled; without brackets. */
export interface UpstreamEndpoint {
  readonly ip: string;
  readonly port: number;
}

/** With what its sockets are opened, beyond what `egress` says for all. */
export interface UpstreamSocketOptions {
  /** SO_MARK; absent: that of `egress`. */
  readonly fwmark?: number;
  /** SO_BINDTODEVICE; absent: that of `egress`. */
  readonly interface?: string;
  /** Local addresses, one of a family at most; none: the kernel chooses. */
  readonly sources: readonly string[];
  /** Milliseconds of each dial; absent: `timeouts.connect`. */
  readonly connectTimeoutMs?: number;
}

interface PoolRule {
  readonly kind: 'pool';
  readonly addresses: readonly UpstreamEndpoint[];
  readonly policy: PoolPolicy;
  /** Further addresses that a flow tries when a dial has failed. */
  readonly retries: number;
  /** So many failures in a row, 0 for never, and an address is left out for so long. */
  readonly health: { readonly after: number; readonly forMs: number };
}

interface ProxyRule {
  readonly kind: 'proxy';
  readonly protocol: 'socks5' | 'http';
  readonly address: UpstreamEndpoint;
  /** Empty for none. */
  readonly user: string;
  readonly password: string;
}

export type UpstreamRule = UpstreamSocketOptions & {
  readonly name: string;
  /** Stands in the rows of its flows; means this name for as long as the supervisor lives. */
  readonly id: number;
} & (PoolRule | ProxyRule | { readonly kind: Extract<UpstreamKind, 'egress'> });

/** What the data plane knows of an address, since it started. */
export interface AddressReport {
  /** `10.0.0.5:8443` */
  readonly address: string;
  readonly healthy: boolean;
  /** Flows and dials. */
  readonly active: number;
  readonly connects: number;
  readonly failures: number;
  /** Why the last dial failed that did; absent since one succeeded. */
  readonly last_error?: string;
}

/** Sums since the data plane started. */
export interface UpstreamReport {
  readonly name: string;
  /** Dials that succeeded and that failed, one for each address that was tried. */
  readonly connects: number;
  readonly failures: number;
  /** Microseconds that those took which succeeded, with the handshake of a proxy. */
  readonly connectUs: number;
  /** How many of them took how long, as the buckets of Histogram.DIAL_US. */
  readonly connectBuckets: readonly number[];
  /** None of an upstream that is options of sockets only. */
  readonly addresses: readonly AddressReport[];
}
