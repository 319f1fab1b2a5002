/** Claims whose client has not finished its handshake. Each holds its generation. */
import { RenewedMap } from '../renewed-map.ts';
import type { Claim } from './conn-row.ts';

export class AwaitedClaims {
  /** By request. */
  readonly #claims = new RenewedMap<number, Claim>();

  get size(): number {
    return this.#claims.size;
  }

  add(claim: Claim): void {
    claim.generation.hold();
    this.#claims.set(claim.requestId, claim);
  }

  /** The client has come: its connection holds the generation from now on. */
  take(requestId: number): Claim | undefined {
    const claim = this.#claims.get(requestId);
    this.#claims.delete(requestId);
    return claim;
  }

  /** Their clients will not come. */
  drop(isDropped: (claim: Claim) => boolean): void {
    for (const claim of Array.from(this.#claims.values()).filter(isDropped)) {
      this.#claims.delete(claim.requestId);
      claim.generation.letGo();
    }
  }
}
