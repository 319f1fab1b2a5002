/**
 * Endpoint-independent mappings: whatever a client sends from one port leaves with one address and
 * port of the pool, wherever it goes (RFC 4787 REQ-1, RFC 5382 REQ-1, RFC 5508 REQ-1). A mapping
 * lives as long as a flow uses it. It is found by the client's end, to be used again, and by the
 * pool's end, so that clients reach each other by what the world sees of them (hairpinning, RFC
 * 4787 REQ-9). The port of an ICMP echo is its identifier.
 */
import type { Arena } from '../arena.ts';
import { Counter, type Counters } from '../counters.ts';
import type { HalfSipHash } from '../sip-hash.ts';
import { bucketCount, Sources } from '../sources.ts';

/** Offsets in bytes; all but the addresses in host byte order. */
export const MappingField = {
  /** 16 bytes each, in network order; an IPv4 address takes the first four. */
  CLIENT: 0,
  POOL: 16,
  /** uint16 */
  CLIENT_PORT: 32,
  POOL_PORT: 34,
  /** uint8: IANA protocol number; 4 or 6. */
  PROTOCOL: 36,
  FAMILY: 37,
  /** uint32: flows that use it. */
  FLOWS: 40,
  /** int32, uint32: links of the two chains, and what they hang from. NEXT is the free list's. */
  NEXT: 44,
  HASH: 48,
  POOL_NEXT: 52,
  POOL_HASH: 56,
} as const;
const MAPPING_BYTES = 64;

/** The chain by the pool's end has its fields this far behind those by the client's. */
const POOL_LINKS = MappingField.POOL_NEXT - MappingField.NEXT;
const POOL_PORTS = MappingField.POOL_PORT - MappingField.CLIENT_PORT;

/** Not a mapping. */
export const NO_MAPPING = -1;
/** Not a port. */
export const NO_PORT = -1;

/** Ports of each parity that are tried, as in Linux: a range that is nearly full costs no more. */
const PROBES = 128;
/** Tells the hashes of the two ends apart. */
const CLIENT_TAG = 0;
const POOL_TAG = 1;
const RANDOM_TAG = 2;

export class Mappings {
  readonly #view: DataView;
  readonly #rowsAt: number;
  readonly #bucketsAt: number;
  /** Buckets of one chain; those by the pool's end follow. */
  readonly #buckets: number;
  readonly #hash: HalfSipHash;
  readonly #counters: Counters;
  /** How many each client has. */
  readonly #clients: Sources;
  #free = NO_MAPPING;
  #fresh = 0;
  #used = 0;
  #draws = 0;

  static bytes(capacity: number): number {
    const own = capacity * MAPPING_BYTES + 2 * bucketCount(capacity) * 4 + 2 * 64;
    return own + Sources.bytes(capacity);
  }

  /** @param capacity  one for each flow */
  constructor(arena: Arena, capacity: number, hash: HalfSipHash, counters: Counters) {
    this.#view = arena.view;
    this.#rowsAt = arena.take(capacity * MAPPING_BYTES);
    this.#buckets = bucketCount(capacity);
    this.#bucketsAt = arena.take(2 * this.#buckets * 4);
    this.#hash = hash;
    this.#counters = counters;
    this.#clients = new Sources(arena, capacity, hash);
    new Int32Array(arena.buffer, this.#bucketsAt, 2 * this.#buckets).fill(NO_MAPPING);
    counters.set(Counter.NAT_MAPPINGS_NOW, 0);
  }

  get used(): number {
    return this.#used;
  }

  /** Position of a mapping in the arena. */
  at(mapping: number): number {
    return this.#rowsAt + mapping * MAPPING_BYTES;
  }

  /** The mapping of a client's end, or NO_MAPPING. */
  findClient(protocol: number, addressAt: number, length: number, port: number): number {
    const hash = this.#hashOf(CLIENT_TAG, protocol, addressAt, length, port);
    return this.#find(hash, MappingField.CLIENT, 0, protocol, addressAt, length, port);
  }

  /** The mapping that has this end of the pool, or NO_MAPPING. */
  findPool(protocol: number, addressAt: number, length: number, port: number): number {
    const hash = this.#hashOf(POOL_TAG, protocol, addressAt, length, port);
    return this.#find(hash, MappingField.POOL, POOL_LINKS, protocol, addressAt, length, port);
  }

  /** Ports of the pool that a client has, of one protocol. */
  countOf(protocol: number, clientAt: number, length: number): number {
    return this.#clients.count(clientAt, length, protocol);
  }

  /** Makes a mapping of two ends that have none, used by one flow. */
  insert(
    protocol: number,
    clientAt: number,
    clientPort: number,
    poolAt: number,
    poolPort: number,
    length: number,
  ): number {
    const view = this.#view;
    let mapping = this.#free;
    if (mapping !== NO_MAPPING) {
      this.#free = view.getInt32(this.at(mapping) + MappingField.NEXT, true);
    } else mapping = this.#fresh++;
    const at = this.at(mapping);
    for (let i = 0; i < length; i += 4) {
      view.setInt32(at + MappingField.CLIENT + i, view.getInt32(clientAt + i));
      view.setInt32(at + MappingField.POOL + i, view.getInt32(poolAt + i));
    }
    view.setUint16(at + MappingField.CLIENT_PORT, clientPort, true);
    view.setUint16(at + MappingField.POOL_PORT, poolPort, true);
    view.setUint8(at + MappingField.PROTOCOL, protocol);
    view.setUint8(at + MappingField.FAMILY, length === 4 ? 4 : 6);
    view.setUint32(at + MappingField.FLOWS, 1, true);
    this.#link(mapping, 0, this.#hashOf(CLIENT_TAG, protocol, clientAt, length, clientPort));
    this.#link(mapping, POOL_LINKS, this.#hashOf(POOL_TAG, protocol, poolAt, length, poolPort));
    this.#clients.take(clientAt, length, true, protocol);
    this.#count(1);
    return mapping;
  }

  /** One more flow uses the mapping. */
  take(mapping: number): void {
    const at = this.at(mapping) + MappingField.FLOWS;
    this.#view.setUint32(at, this.#view.getUint32(at, true) + 1, true);
  }

  /** One flow less; with the last one the mapping goes. */
  release(mapping: number): void {
    const view = this.#view;
    const at = this.at(mapping);
    const flows = view.getUint32(at + MappingField.FLOWS, true) - 1;
    view.setUint32(at + MappingField.FLOWS, flows, true);
    if (flows > 0) return;
    this.#unlink(mapping, 0);
    this.#unlink(mapping, POOL_LINKS);
    view.setInt32(at + MappingField.NEXT, this.#free, true);
    this.#free = mapping;
    const length = view.getUint8(at + MappingField.FAMILY) === 4 ? 4 : 16;
    const protocol = view.getUint8(at + MappingField.PROTOCOL);
    this.#clients.release(at + MappingField.CLIENT, length, true, protocol);
    this.#count(-1);
  }

  /**
   * A port of the pool's address that no mapping has: the client's own if it lies in the range and
   * is free; else any of its parity (RFC 4787 REQ-4); else any.
   *
   * @returns NO_PORT when none was found among as many as are tried
   */
  freePort(
    protocol: number,
    poolAt: number,
    length: number,
    clientPort: number,
    first: number,
    last: number,
  ): number {
    if (clientPort >= first && clientPort <= last) {
      if (this.findPool(protocol, poolAt, length, clientPort) === NO_MAPPING) return clientPort;
    }
    const draw = this.draw(poolAt, clientPort);
    for (let parity = 0; parity < 2; parity++) {
      const lowest = first + ((first ^ clientPort ^ parity) & 1);
      const count = ((last - lowest) >> 1) + 1;
      const probes = Math.min(count, PROBES);
      for (let i = 0; i < probes; i++) {
        const port = lowest + 2 * ((draw + i) % count);
        if (this.findPool(protocol, poolAt, length, port) === NO_MAPPING) return port;
      }
    }
    return NO_PORT;
  }

  /** A number that nobody foresees: where the search for a port begins, RFC 6056 §3.3. */
  draw(addressAt: number, port: number): number {
    this.#draws = (this.#draws + 1) % 0x1_0000_0000;
    const hash = this.#hash;
    hash.start();
    hash.word(this.#draws);
    hash.word(this.#view.getInt32(addressAt));
    hash.word((port << 8) | RANDOM_TAG);
    return hash.finish();
  }

  #count(change: number): void {
    this.#used += change;
    this.#counters.set(Counter.NAT_MAPPINGS_NOW, this.#used);
  }

  #hashOf(tag: number, protocol: number, at: number, length: number, port: number): number {
    const hash = this.#hash;
    hash.start();
    for (let i = 0; i < length; i += 4) hash.word(this.#view.getInt32(at + i));
    hash.word((port << 16) | (protocol << 8) | tag);
    return hash.finish();
  }

  /** @param field, links  which of the two ends, and its chain */
  #find(
    hash: number,
    field: number,
    links: number,
    protocol: number,
    addressAt: number,
    length: number,
    port: number,
  ): number {
    const view = this.#view;
    const portField = MappingField.CLIENT_PORT + (links === 0 ? 0 : POOL_PORTS);
    let mapping = view.getInt32(this.#bucketAt(links, hash), true);
    while (mapping !== NO_MAPPING) {
      const at = this.at(mapping);
      if (
        view.getUint32(at + links + MappingField.HASH, true) === hash &&
        view.getUint16(at + portField, true) === port &&
        view.getUint8(at + MappingField.PROTOCOL) === protocol &&
        view.getUint8(at + MappingField.FAMILY) === (length === 4 ? 4 : 6) &&
        this.#isSame(at + field, addressAt, length)
      ) {
        return mapping;
      }
      mapping = view.getInt32(at + links + MappingField.NEXT, true);
    }
    return NO_MAPPING;
  }

  #isSame(aAt: number, bAt: number, length: number): boolean {
    const view = this.#view;
    for (let i = 0; i < length; i += 4) {
      if (view.getInt32(aAt + i) !== view.getInt32(bAt + i)) return false;
    }
    return true;
  }

  #bucketAt(links: number, hash: number): number {
    const chain = links === 0 ? 0 : this.#buckets;
    return this.#bucketsAt + (chain + (hash & (this.#buckets - 1))) * 4;
  }

  #link(mapping: number, links: number, hash: number): void {
    const view = this.#view;
    const at = this.at(mapping) + links;
    const bucketAt = this.#bucketAt(links, hash);
    view.setUint32(at + MappingField.HASH, hash, true);
    view.setInt32(at + MappingField.NEXT, view.getInt32(bucketAt, true), true);
    view.setInt32(bucketAt, mapping, true);
  }

  #unlink(mapping: number, links: number): void {
    const view = this.#view;
    const at = this.at(mapping) + links;
    let pointerAt = this.#bucketAt(links, view.getUint32(at + MappingField.HASH, true));
    while (view.getInt32(pointerAt, true) !== mapping) {
      pointerAt = this.at(view.getInt32(pointerAt, true)) + links + MappingField.NEXT;
    }
    view.setInt32(pointerAt, view.getInt32(at + MappingField.NEXT, true), true);
  }
}
