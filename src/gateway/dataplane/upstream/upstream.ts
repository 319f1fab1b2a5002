/** An upstream that has a name: what the configuration says of it, and how its dials go. */
import { bucketCount, bucketOf, Histogram } from '../../../stack/histograms.ts';
import type { UpstreamKind } from '../../../stack/verdict.ts';
import type { UpstreamReport, UpstreamRule } from '../../messages/upstreams.ts';
import type { HealthRule, UpstreamAddress } from './address.ts';
import { Pool } from './pool.ts';

/** A proxy is the only way to where it leads: it is never left out, only shown as down. */
const PROXY_HEALTH: HealthRule = { after: 3, forMs: 0 };

/** To `Upstream.count`. */
export const DIAL_FAILED = -1;

/** Sums that go on when the configuration changes. */
export interface UpstreamSums {
  connects: number;
  failures: number;
  connectUs: number;
  /** How many took how long, as the buckets of Histogram.DIAL_US. */
  connectBuckets: number[];
}

const noSums = (): UpstreamSums => ({
  ...{ connects: 0, failures: 0, connectUs: 0 },
  connectBuckets: Array.from({ length: bucketCount(Histogram.DIAL_US) }, () => 0),
});

export class Upstream {
  readonly rule: UpstreamRule;
  /** In the order of the configuration; one of a proxy, none of an egress. */
  readonly addresses: readonly UpstreamAddress[];
  readonly pool: Pool | undefined;
  readonly health: HealthRule;
  readonly sums: UpstreamSums;
  #isChanged = true;
  readonly #source4: string;
  readonly #source6: string;

  /** @param before  what the same name was until now */
  constructor(rule: UpstreamRule, addresses: readonly UpstreamAddress[], before?: Upstream) {
    this.rule = rule;
    this.addresses = addresses;
    this.health = rule.kind === 'pool' ? rule.health : PROXY_HEALTH;
    this.sums = before?.sums ?? noSums();
    this.pool =
      rule.kind === 'pool'
        ? new Pool(addresses, rule.policy, rule.health, before?.pool?.turn)
        : undefined;
    this.#source4 = rule.sources.find((ip) => !ip.includes(':')) ?? '';
    this.#source6 = rule.sources.find((ip) => ip.includes(':')) ?? '';
  }

  get name(): string {
    return this.rule.name;
  }

  get kind(): UpstreamKind {
    return this.rule.kind;
  }

  /**
   * Local address of its sockets; empty for the kernel's choice. Where only the other family has
   * one, it is that: a socket that cannot have it fails, and leaves by no other.
   */
  source(family: 4 | 6): string {
    const [own, other] =
      family === 4 ? [this.#source4, this.#source6] : [this.#source6, this.#source4];
    return own === '' ? other : own;
  }

  /** A dial by it has ended, so many microseconds after it began, or with DIAL_FAILED. */
  count(tookUs: number): void {
    this.#isChanged = true;
    if (tookUs === DIAL_FAILED) {
      this.sums.failures++;
      return;
    }
    this.sums.connects++;
    this.sums.connectUs += tookUs;
    this.sums.connectBuckets[bucketOf(Histogram.DIAL_US, tookUs)]! += 1;
  }

  /** Something has changed since the last report. */
  get hasNews(): boolean {
    return this.#isChanged || this.addresses.some(({ isChanged }) => isChanged);
  }

  report(): UpstreamReport {
    const { name, sums, health } = this;
    this.#isChanged = false;
    for (const address of this.addresses) address.isChanged = false;
    const addresses = this.addresses.map((address) => address.report(health));
    return { name, ...sums, addresses };
  }
}
