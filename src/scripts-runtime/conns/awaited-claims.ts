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

  /** It will not come. */
  drop(requestId: number): void {
    this.take(requestId)?.generation.letGo();
  }

  /** @param generation  number; absent: of all */
  dropAll(generation?: number): void {
    for (const { requestId, generation: of } of Array.from(this.#claims.values())) {
      if (generation === undefined || of.number === generation) this.drop(requestId);
    }
  }
}
