/**
 * Several addresses, one connection: Happy Eyeballs (RFC 8305). Addresses are tried in their order,
 * families in turn (§4); each has a head start over the next (§5), or none when it fails. The first
 * that answers is taken, and the others are given up.
 */
import type { Endpoint } from '../../stack/verdict.ts';
import type { DialFailure } from './ports.ts';

/** "Connection Attempt Delay", RFC 8305 §5, in microseconds. */
const HEAD_START_US = 250_000;

const NEVER = Number.POSITIVE_INFINITY;

export interface DialingPorts {
  /** Starts an attempt; its number, or undefined while there is no room for one more. */
  start(to: Endpoint): number | undefined;
  giveUp(socket: number): void;
}

export class Dialing {
  readonly #ports: DialingPorts;
  #left: Endpoint[];
  readonly #inFlight = new Set<number>();
  #nextAt = NEVER;

  /** @param family  of the address that is tried first, if there is one of it */
  constructor(addresses: readonly Endpoint[], family: 4 | 6, ports: DialingPorts) {
    this.#left = inTurn(addresses, family);
    this.#ports = ports;
  }

  /** When `attempt` is due, in microseconds. */
  get nextAt(): number {
    return this.#nextAt;
  }

  /** No attempt is under way. */
  get isIdle(): boolean {
    return this.#inFlight.size === 0;
  }

  /** Tries the next address, if there is one. */
  attempt(now: number): void {
    const [next, ...rest] = this.#left;
    const socket = next === undefined ? undefined : this.#ports.start(next);
    if (socket === undefined) {
      // Without room it waits for an attempt to fail.
      this.#nextAt = NEVER;
      return;
    }
    this.#left = rest;
    this.#inFlight.add(socket);
    this.#nextAt = rest.length > 0 ? now + HEAD_START_US : NEVER;
  }

  /** @returns why all have failed; undefined while there is hope */
  failed(socket: number, why: DialFailure, now: number): DialFailure | undefined {
    if (!this.#inFlight.delete(socket)) return undefined;
    if (this.#left.length > 0) this.attempt(now);
    return this.#inFlight.size === 0 ? why : undefined;
  }

  /** This one is taken. */
  won(socket: number): void {
    this.#inFlight.delete(socket);
    this.cancel();
  }

  cancel(): void {
    this.#left = [];
    this.#nextAt = NEVER;
    for (const socket of this.#inFlight) this.#ports.giveUp(socket);
    this.#inFlight.clear();
  }
}

/** RFC 8305 §4: families alternate, so that one that does not work costs one attempt. */
function inTurn(addresses: readonly Endpoint[], family: 4 | 6): Endpoint[] {
  const first = addresses.filter((one) => one.family === family);
  const second = addresses.filter((one) => one.family !== family);
  const longer = Math.max(first.length, second.length);
  return Array.from({ length: longer }, (_, i) => [first[i], second[i]])
    .flat()
    .filter((one) => one !== undefined);
}
