/**
 * By what names clients know addresses: from the DNS answers that they got, for `flow.dnsName`. A
 * client has what it was told itself, so that nobody gives names to the flows of others. What is
 * over is not told any more, and forgotten within minutes while answers come.
 */
import type { ConnectionRequest } from '../stack/verdict.ts';
import { RenewedMap } from './renewed-map.ts';

const US_PER_S = 1_000_000;
/** A name is used at once, and a little after its time: by who keeps it in a list of its own. */
const LIFE_MIN_US = 60 * US_PER_S;
/** Longer nobody keeps it in good faith, and we should not know it. */
const LIFE_MAX_US = 3600 * US_PER_S;
const SWEEP_PERIOD_US = 60 * US_PER_S;

/** About 4 MiB of names as long as they are. */
const NAMES_MAX = 16_384;
/** Of one client: with more, its oldest give way. */
const CLIENT_NAMES_MAX = 1024;

/** An address that a name has, and for how many seconds. */
export interface NamedAddress {
  readonly ip: string;
  readonly ttlS: number;
}

interface Seen {
  readonly name: string;
  /** Microseconds. */
  readonly until: number;
}

/** By address, the one that was learnt last at the end. */
type ClientNames = RenewedMap<string, Seen>;

export class SeenNames {
  readonly #max: number;
  readonly #clientMax: number;
  /** By address of the client; who was told something last stands at the end. */
  readonly #clients = new RenewedMap<string, ClientNames>();
  #size = 0;
  #sweepAt = 0;

  constructor(max = NAMES_MAX, clientMax = CLIENT_NAMES_MAX) {
    this.#max = max;
    this.#clientMax = clientMax;
  }

  /** Names in memory. */
  get size(): number {
    return this.#size;
  }

  /** `client` was told at `now`, in microseconds, that `name` has these addresses. */
  learn(client: string, name: string, addresses: readonly NamedAddress[], now: number): void {
    if (now >= this.#sweepAt) this.#sweep(now);
    const names: ClientNames = this.#clients.get(client) ?? new RenewedMap();
    this.#clients.delete(client);
    this.#clients.set(client, names);
    for (const { ip, ttlS } of addresses) {
      const life = Math.min(Math.max(ttlS * US_PER_S, LIFE_MIN_US), LIFE_MAX_US);
      if (names.delete(ip)) this.#size--;
      names.set(ip, { name, until: now + life });
      this.#size++;
      if (names.size > this.#clientMax) this.#forgetOldest(names);
    }
    while (this.#size > this.#max) this.#makeRoom();
    if (names.size === 0) this.#clients.delete(client);
  }

  /** The name that `client` has for an address; of several the one that it was told last. */
  nameOf(client: string, address: string, now: number): string | undefined {
    const seen = this.#clients.get(client)?.get(address);
    return seen !== undefined && now < seen.until ? seen.name : undefined;
  }

  /** A request with the name of its destination, if its client has one. */
  named(request: ConnectionRequest, now: number): ConnectionRequest {
    if (request.dnsName !== undefined) return request;
    const dnsName = this.nameOf(request.source.ip, request.destination.ip, now);
    return dnsName === undefined ? request : { ...request, dnsName };
  }

  /** Who was told nothing for the longest time loses first. */
  #makeRoom(): void {
    for (const [client, names] of this.#clients.entries()) {
      this.#forgetOldest(names);
      if (names.size === 0) this.#clients.delete(client);
      return;
    }
  }

  #forgetOldest(names: ClientNames): void {
    for (const [address] of names.entries()) {
      names.delete(address);
      this.#size--;
      return;
    }
  }

  #sweep(now: number): void {
    this.#sweepAt = now + SWEEP_PERIOD_US;
    for (const [client, names] of [...this.#clients.entries()]) {
      for (const [address, { until }] of [...names.entries()]) {
        if (until <= now && names.delete(address)) this.#size--;
      }
      if (names.size === 0) this.#clients.delete(client);
    }
  }
}
