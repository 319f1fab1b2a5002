/**
 * Which address of a pool a flow tries next. Those that are left out come last: when nobody is
 * healthy, to refuse without a dial would be a guess.
 */
import type { Instant } from '../../../stack/time.ts';
import type { PoolPolicy } from '../../messages/upstreams.ts';
import { type HealthRule, mixed, type UpstreamAddress } from './address.ts';

export const NO_ADDRESS = -1;

export class Pool {
  readonly #addresses: readonly UpstreamAddress[];
  readonly #policy: PoolPolicy;
  readonly #health: HealthRule;
  /** Of `round-robin`: whose turn it is. */
  #turn: number;

  /** @param turn  of the pool that this one takes the place of */
  constructor(
    addresses: readonly UpstreamAddress[],
    policy: PoolPolicy,
    health: HealthRule,
    turn = 0,
  ) {
    this.#addresses = addresses;
    this.#policy = policy;
    this.#health = health;
    this.#turn = turn % addresses.length;
  }

  get turn(): number {
    return this.#turn;
  }

  /**
   * @param tried       by position, not 0 for an address that this flow has tried
   * @param clientHash  the same for all flows of a client
   * @returns           position of the address, or NO_ADDRESS when all were tried
   */
  pick(tried: Uint8Array, clientHash: number, now: Instant): number {
    let best = NO_ADDRESS;
    let isBestEligible = false;
    let bestScore = 0;
    const count = this.#addresses.length;
    for (let i = 0; i < count; i++) {
      const position = (this.#turn + i) % count;
      if (tried[position] !== 0) continue;
      const address = this.#addresses[position]!;
      const isEligible = address.isEligible(this.#health, now);
      if (isBestEligible && !isEligible) continue;
      const score = this.#score(address, position, i, clientHash);
      const isBetter = isEligible !== isBestEligible || score > bestScore;
      if (best !== NO_ADDRESS && !isBetter) continue;
      best = position;
      bestScore = score;
      isBestEligible = isEligible;
    }
    // With equal numbers of flows, too, the next one begins at the next address.
    if (best !== NO_ADDRESS && this.#policy !== 'failover') this.#turn = (best + 1) % count;
    return best;
  }

  /** The greatest is chosen, and of equals the first in turn. */
  #score(address: UpstreamAddress, position: number, order: number, clientHash: number): number {
    switch (this.#policy) {
      case 'round-robin':
        return -order;
      case 'least-connections':
        return -address.active;
      case 'failover':
        return -position;
      case 'source-hash':
        // Rendezvous hashing: who was at another address stays there when this one goes.
        return mixed(clientHash ^ address.key);
    }
  }
}
