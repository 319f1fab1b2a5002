/** The flow table against a Map: both tuples of a flow, time, and a change of the data plane. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Arena } from '../../src/stack/arena.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../src/stack/flow-row.ts';
import { FlowTable, NO_FLOW } from '../../src/stack/flow-table.ts';
import { HalfSipHash } from '../../src/stack/sip-hash.ts';
import type { Instant } from '../../src/stack/time.ts';

const CAPACITY = 6;
const ADDRESS_BYTES = 4;
const SERVER_PORT = 80;
const BASE_ADDRESS = 0x0a00_0000;

/** Few tuples, so that the same come again, and replies meet originals. */
const anyStep = fc.record({
  what: fc.constantFrom('insert', 'insert', 'reply', 'reply', 'remove', 'find', 'pass', 'restart'),
  address: fc.nat(2),
  port: fc.constantFrom(SERVER_PORT, 1, 2),
  protocol: fc.constantFrom(6, 17),
  other: fc.nat(2),
  otherPort: fc.constantFrom(SERVER_PORT, 1, 2),
});
type Step = typeof anyStep extends fc.Arbitrary<infer T> ? T : never;

interface Flow {
  readonly row: number;
  readonly serial: number;
  readonly expiresAt: number;
  readonly keys: string[];
}

/** A tuple as text: protocol, source, destination. */
const keyOf = (protocol: number, a: number, aPort: number, b: number, bPort: number): string =>
  `${protocol} ${a}:${aPort} ${b}:${bPort}`;

/** The table, and what it should hold. */
class Checked {
  readonly #arena: Arena;
  readonly #sourceAt: number;
  readonly #destinationAt: number;
  readonly #buckets: number;
  readonly #model = new Map<string, Flow>();
  #table: FlowTable;
  #now = 0;
  #keys = 1;

  constructor(buckets: number) {
    this.#buckets = buckets;
    const bytes = FlowTable.bytes(CAPACITY, buckets);
    this.#arena = new Arena(new ArrayBuffer(bytes + 256));
    this.#table = this.#makeTable(this.#arena);
    this.#sourceAt = bytes;
    this.#destinationAt = bytes + 16;
  }

  run(step: Step): void {
    const { protocol, address, port, other } = step;
    const key = keyOf(protocol, address, port, other, SERVER_PORT);
    const found = this.#find(protocol, address, port, other, SERVER_PORT);
    this.#expectFound(key, found);
    const flow = this.#model.get(key);
    if (step.what === 'insert' && flow === undefined) this.#insert(step, key);
    else if (step.what === 'reply' && flow !== undefined) this.#reply(step, flow);
    else if (step.what === 'remove' && flow !== undefined) this.#remove(flow);
    else if (step.what === 'pass') this.#pass(step.address);
    else if (step.what === 'restart') this.#restart();
    this.#expectAll();
  }

  get #flows(): Set<Flow> {
    return new Set(this.#model.values());
  }

  #makeTable(arena: Arena): FlowTable {
    return new FlowTable(arena, CAPACITY, new HalfSipHash(this.#keys++, 2), this.#buckets);
  }

  #find(protocol: number, a: number, aPort: number, b: number, bPort: number): number {
    const { view } = this.#arena;
    view.setUint32(this.#sourceAt, BASE_ADDRESS + a);
    view.setUint32(this.#destinationAt, BASE_ADDRESS + b);
    return this.#table.find(
      this.#hash(protocol, aPort, bPort),
      this.#sourceAt,
      this.#destinationAt,
      ADDRESS_BYTES,
      aPort,
      bPort,
      protocol,
    );
  }

  #hash(protocol: number, aPort: number, bPort: number): number {
    const ports = (aPort << 16) | bPort;
    return this.#table.hashOf(this.#sourceAt, this.#destinationAt, ADDRESS_BYTES, ports, protocol);
  }

  #expectFound(key: string, found: number): void {
    const flow = this.#model.get(key);
    expect(found).toBe(flow?.row ?? NO_FLOW);
    if (flow !== undefined) expect(this.#table.foundReply).toBe(flow.keys.indexOf(key) === 1);
  }

  #insert({ protocol, port }: Step, key: string): void {
    const row = this.#table.insert(
      this.#hash(protocol, port, SERVER_PORT),
      this.#sourceAt,
      this.#destinationAt,
      ADDRESS_BYTES,
      port,
      SERVER_PORT,
      protocol,
      this.#now as Instant,
    );
    const flows = this.#flows;
    if (flows.size === CAPACITY) {
      expect(row).toBe(NO_FLOW);
      return;
    }
    expect([...flows].map((flow) => flow.row)).not.toContain(row);
    const at = this.#table.rowAt(row);
    const expiresAt = this.#now + 1 + (port % 3);
    this.#arena.view.setFloat64(at + FlowField.EXPIRES_AT, expiresAt, true);
    const serial = this.#arena.view.getFloat64(at + FlowField.SERIAL, true);
    this.#model.set(key, { row, serial, expiresAt, keys: [key] });
  }

  /** The flow goes to `other`, and is seen there with the address `address`. */
  #reply({ protocol, address, other, otherPort }: Step, flow: Flow): void {
    if (flow.keys.length === 2) return;
    const { view } = this.#arena;
    const at = this.#table.rowAt(flow.row);
    view.setUint32(at + FlowField.UPSTREAM, BASE_ADDRESS + other);
    view.setUint32(at + FlowField.NAT_SOURCE, BASE_ADDRESS + address);
    view.setUint16(at + FlowField.UPSTREAM_PORT, otherPort, true);
    view.setUint16(at + FlowField.NAT_SOURCE_PORT, SERVER_PORT, true);
    const key = keyOf(protocol, other, otherPort, address, SERVER_PORT);
    const owner = this.#model.get(key);
    const conflict = this.#table.insertReply(flow.row);
    expect(conflict).toBe(owner === undefined || owner === flow ? NO_FLOW : owner.row);
    if (owner !== undefined) return;
    flow.keys.push(key);
    this.#model.set(key, flow);
  }

  #remove(flow: Flow): void {
    this.#table.remove(flow.row);
    for (const key of flow.keys) this.#model.delete(key);
  }

  /** Time passes, and a walk over the table takes out what has expired. */
  #pass(span: number): void {
    this.#now += span;
    const table = this.#table;
    for (let row = table.nextLive(0); row !== NO_FLOW; row = table.nextLive(row + 1)) {
      const at = table.rowAt(row) + FlowField.EXPIRES_AT;
      if (this.#arena.view.getFloat64(at, true) <= this.#now) table.remove(row);
    }
    for (const flow of this.#flows) {
      if (flow.expiresAt > this.#now) continue;
      for (const key of flow.keys) this.#model.delete(key);
    }
  }

  /** Another data plane takes the memory over, with another key. */
  #restart(): void {
    this.#table = this.#makeTable(new Arena(this.#arena.buffer));
    let last = 0;
    for (const flow of this.#flows) {
      expect(this.#table.adopt(flow.row)).toBe(true);
      if (flow.keys.length === 2) expect(this.#table.insertReply(flow.row)).toBe(NO_FLOW);
      last = Math.max(last, flow.serial);
    }
    this.#table.continueAfter(last);
  }

  #expectAll(): void {
    const table = this.#table;
    const flows = this.#flows;
    expect(table.used).toBe(flows.size);
    const live: number[] = [];
    for (let row = table.nextLive(0); row !== NO_FLOW; row = table.nextLive(row + 1)) {
      live.push(row);
    }
    expect(live).toEqual([...flows].map(({ row }) => row).sort((a, b) => a - b));
    for (const { row, serial } of flows) expect(table.isLive(row, serial)).toBe(true);
  }
}

for (const buckets of [1, 2, 0]) {
  test(`the table agrees with a Map, with ${buckets || 'its own number of'} buckets`, () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 120 }), (steps) => {
        const checked = new Checked(buckets);
        for (const step of steps) checked.run(step);
      }),
      { numRuns: 200, includeErrorInReport: true },
    );
  });
}

test('rows lie where readers outside of the data plane look for them', () => {
  const arena = new Arena(new ArrayBuffer(FlowTable.bytes(CAPACITY)));
  const table = new FlowTable(arena, CAPACITY, new HalfSipHash(1, 2));
  expect(table.rowAt(3) - table.rowAt(0)).toBe(3 * FLOW_ROW_BYTES);
});
