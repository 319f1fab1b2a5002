import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Arena } from '../../../src/stack/arena.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../../src/stack/counters.ts';
import { MappingField, Mappings, NO_MAPPING, NO_PORT } from '../../../src/stack/nat/mappings.ts';
import { HalfSipHash } from '../../../src/stack/sip-hash.ts';
import { writeAddress } from '../../../src/stack/wire/ip-address.ts';

const UDP = 17;
const TCP = 6;
const POOL = '192.0.2.1';

/** Mappings, called with text: `10.0.0.1:5000`. */
class Table {
  readonly #arena: Arena;
  readonly #clientAt: number;
  readonly #poolAt: number;
  readonly mappings: Mappings;
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));

  constructor(capacity = 64) {
    this.#arena = new Arena(new ArrayBuffer(Mappings.bytes(capacity) + 256));
    this.mappings = new Mappings(this.#arena, capacity, new HalfSipHash(1, 2), this.counters);
    this.#clientAt = this.#arena.take(16);
    this.#poolAt = this.#arena.take(16);
  }

  insert(client: string, port: number, poolPort: number, protocol = UDP, pool = POOL): number {
    const length = this.#write(client, this.#clientAt);
    this.#write(pool, this.#poolAt);
    return this.mappings.insert(protocol, this.#clientAt, port, this.#poolAt, poolPort, length);
  }

  findClient(client: string, port: number, protocol = UDP): number {
    const length = this.#write(client, this.#clientAt);
    return this.mappings.findClient(protocol, this.#clientAt, length, port);
  }

  findPool(port: number, protocol = UDP, pool = POOL): number {
    const length = this.#write(pool, this.#poolAt);
    return this.mappings.findPool(protocol, this.#poolAt, length, port);
  }

  freePort(port: number, first = 1024, last = 65_535, protocol = UDP): number {
    const length = this.#write(POOL, this.#poolAt);
    return this.mappings.freePort(protocol, this.#poolAt, length, port, first, last);
  }

  flows(mapping: number): number {
    return this.#arena.view.getUint32(this.mappings.at(mapping) + MappingField.FLOWS, true);
  }

  #write(address: string, at: number): number {
    return writeAddress(address, this.#arena.view, at) === 4 ? 4 : 16;
  }
}

test('a mapping is found by both of its ends, and by nothing else', () => {
  const table = new Table();
  const mapping = table.insert('10.0.0.1', 5000, 6000);
  expect(table.findClient('10.0.0.1', 5000)).toBe(mapping);
  expect(table.findPool(6000)).toBe(mapping);
  expect(table.findClient('10.0.0.1', 5001)).toBe(NO_MAPPING);
  expect(table.findClient('10.0.0.2', 5000)).toBe(NO_MAPPING);
  expect(table.findClient('10.0.0.1', 5000, TCP)).toBe(NO_MAPPING);
  expect(table.findPool(5000)).toBe(NO_MAPPING);
  expect(table.findPool(6000, TCP)).toBe(NO_MAPPING);
  expect(table.findPool(6000, UDP, '192.0.2.2')).toBe(NO_MAPPING);
  expect(table.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(1);
});

test('a mapping of IPv6 is found by all 16 bytes', () => {
  const table = new Table();
  const mapping = table.insert('fd00::1', 5000, 6000, UDP, '2001:db8::1');
  expect(table.findClient('fd00::1', 5000)).toBe(mapping);
  expect(table.findClient('fd00::2', 5000)).toBe(NO_MAPPING);
  expect(table.findPool(6000, UDP, '2001:db8::1')).toBe(mapping);
});

test('a mapping lives as long as a flow uses it', () => {
  const table = new Table();
  const mapping = table.insert('10.0.0.1', 5000, 6000);
  table.mappings.take(mapping);
  table.mappings.release(mapping);
  expect(table.findClient('10.0.0.1', 5000)).toBe(mapping);
  table.mappings.release(mapping);
  expect(table.findClient('10.0.0.1', 5000)).toBe(NO_MAPPING);
  expect(table.findPool(6000)).toBe(NO_MAPPING);
  expect(table.mappings.used).toBe(0);
  expect(table.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(0);
});

test('the port is preserved where it is free and in the range', () => {
  const table = new Table();
  expect(table.freePort(5000)).toBe(5000);
  table.insert('10.0.0.1', 5000, 5000);
  expect(table.freePort(5000)).not.toBe(5000);
  expect(table.freePort(5000, 1024, 65_535, TCP)).toBe(5000);
  const low = table.freePort(80);
  expect(low).toBeGreaterThanOrEqual(1024);
});

test('another port has the parity of the first, as long as there is one', () => {
  const table = new Table();
  for (let i = 0; i < 20; i++) {
    expect(table.freePort(53) % 2).toBe(1);
    expect(table.freePort(20) % 2).toBe(0);
  }
  table.insert('10.0.0.1', 1, 2001);
  expect(table.freePort(2001, 2000, 2001)).toBe(2000);
});

test('every port of a small range is found, and then none', () => {
  const table = new Table();
  const given = Array.from({ length: 10 }, (_, i) => {
    const port = table.freePort(80, 3000, 3009);
    table.insert('10.0.0.1', i, port);
    return port;
  });
  expect(given.toSorted()).toEqual(Array.from({ length: 10 }, (_, i) => 3000 + i));
  expect(table.freePort(80, 3000, 3009)).toBe(NO_PORT);
  expect(table.freePort(3005, 3000, 3009)).toBe(NO_PORT);
});

test('ports are not given in an order that can be foreseen', () => {
  const table = new Table();
  const ports = Array.from({ length: 50 }, () => table.freePort(80));
  expect(new Set(ports).size).toBeGreaterThan(40);
});

test('mappings agree with a Map under any commands', () => {
  const step = fc.record({
    what: fc.constantFrom('take', 'take', 'release'),
    client: fc.nat(3),
    port: fc.nat(2),
    protocol: fc.constantFrom(UDP, TCP),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const table = new Table(24);
      const model = new Map<string, { mapping: number; poolPort: number; flows: number }>();
      for (const { what, client, port, protocol } of steps) {
        const address = `10.0.0.${client}`;
        const key = `${protocol} ${address}:${port}`;
        const known = model.get(key);
        expect(table.findClient(address, port, protocol)).toBe(known?.mapping ?? NO_MAPPING);
        if (what === 'take' && known === undefined) {
          const poolPort = table.freePort(port, 0, 40, protocol);
          const mapping = table.insert(address, port, poolPort, protocol);
          model.set(key, { mapping, poolPort, flows: 1 });
        } else if (what === 'take' && known !== undefined) {
          table.mappings.take(known.mapping);
          known.flows += 1;
        } else if (known !== undefined) {
          table.mappings.release(known.mapping);
          known.flows -= 1;
          if (known.flows === 0) model.delete(key);
        }
        expect(table.mappings.used).toBe(model.size);
        for (const [name, { mapping, poolPort, flows }] of model) {
          expect(table.findPool(poolPort, Number(name.split(' ')[0]))).toBe(mapping);
          expect(table.flows(mapping)).toBe(flows);
        }
      }
    }),
    { numRuns: 100, includeErrorInReport: true },
  );
});
