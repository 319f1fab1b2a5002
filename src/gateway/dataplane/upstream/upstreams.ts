/**
 * All upstreams that have names. A new configuration makes new ones; addresses that it still has
 * keep their health and their counts, and what dials or flows go on with the old ones until they
 * end.
 */

import { after, type Instant, millis } from '../../../stack/time.ts';
import { DIRECT } from '../../../stack/verdict.ts';
import type { LiveConfig } from '../../messages/control.ts';
import type { UpstreamEndpoint, UpstreamReport, UpstreamRule } from '../../messages/upstreams.ts';
import type { Reports } from '../reports.ts';
import { UpstreamAddress } from './address.ts';
import { Upstream } from './upstream.ts';

/** In rows: the flow is at no address of the table. */
export const NO_SLOT = 0;
const REPORT_PERIOD_MS = 1000;

export class Upstreams {
  /** Addresses by slot; some may be in no upstream any more, but in flows. */
  readonly #slots: (UpstreamAddress | undefined)[] = [undefined];
  readonly #free: number[] = [];
  readonly #reports: Reports;
  #byName: ReadonlyMap<string, Upstream> = new Map();
  #default: Upstream | undefined;
  #nextReportAt = 0 as Instant;

  constructor(reports: Reports) {
    this.#reports = reports;
  }

  /** By the `via` of a verdict or a dial, empty for none; undefined: the gateway dials itself. */
  choose(via: string): Upstream | undefined | 'unknown' {
    if (via === '') return this.#default;
    return via === DIRECT ? undefined : (this.#byName.get(via) ?? 'unknown');
  }

  find(name: string): Upstream | undefined {
    return this.#byName.get(name);
  }

  configure({ upstreams, egress }: Pick<LiveConfig, 'upstreams' | 'egress'>): void {
    const before = this.#byName;
    const kept = new Set<UpstreamAddress>();
    this.#byName = new Map(
      upstreams.map((rule) => {
        const old = before.get(rule.name);
        const addresses = endpointsOf(rule).map((endpoint) => this.#addressOf(endpoint, old));
        for (const address of addresses) kept.add(address);
        return [rule.name, new Upstream(rule, addresses, old)];
      }),
    );
    this.#default = this.#byName.get(egress.via);
    for (const { addresses } of before.values()) {
      for (const address of addresses) if (!kept.has(address)) this.#retire(address);
    }
  }

  /** A dial to the address begins. A configuration that lost it may have given its slot away. */
  enter(address: UpstreamAddress, { health }: Upstream): void {
    if (this.#slots[address.slot] !== address) this.#giveSlot(address);
    address.begin(health);
  }

  /** A flow or dial at the address of that slot is over. */
  leave(slot: number): void {
    const address = this.#slots[slot];
    if (address === undefined) return;
    address.active--;
    address.isChanged = true;
    if (address.isRetired && address.active === 0) this.#freeSlot(address);
  }

  /** Tells the supervisor what has changed, at most once a second. */
  report(now: Instant): void {
    if (now < this.#nextReportAt || this.#byName.size === 0 || this.#reports.isBehind) return;
    this.#nextReportAt = after(now, millis(REPORT_PERIOD_MS));
    const changed: UpstreamReport[] = [];
    for (const upstream of this.#byName.values()) {
      if (upstream.hasNews) changed.push(upstream.report());
    }
    if (changed.length > 0) this.#reports.message({ kind: 'upstreams', upstreams: changed });
  }

  /** An address is left out from now on, or no longer. */
  noteHealth(upstream: Upstream, address: UpstreamAddress, isUp: boolean): void {
    const about = { upstream: upstream.name, address: address.text };
    if (isUp) {
      this.#reports.message({ kind: 'log', level: 'info', event: 'upstream-up', fields: about });
      return;
    }
    const fields = { ...about, why: address.lastError, for_ms: upstream.health.forMs };
    this.#reports.message({ kind: 'log', level: 'warn', event: 'upstream-down', fields });
  }

  #addressOf(endpoint: UpstreamEndpoint, before: Upstream | undefined): UpstreamAddress {
    const fresh = new UpstreamAddress(endpoint);
    const known = before?.addresses.find(({ text }) => text === fresh.text);
    if (known !== undefined) return known;
    this.#giveSlot(fresh);
    return fresh;
  }

  #giveSlot(address: UpstreamAddress): void {
    address.slot = this.#free.pop() ?? this.#slots.length;
    this.#slots[address.slot] = address;
  }

  #retire(address: UpstreamAddress): void {
    address.isRetired = true;
    if (address.active === 0) this.#freeSlot(address);
  }

  #freeSlot({ slot }: UpstreamAddress): void {
    this.#slots[slot] = undefined;
    this.#free.push(slot);
  }
}

function endpointsOf(rule: UpstreamRule): readonly UpstreamEndpoint[] {
  switch (rule.kind) {
    case 'pool':
      return rule.addresses;
    case 'proxy':
      return [rule.address];
    case 'egress':
      return [];
  }
}
