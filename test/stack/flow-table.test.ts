import { expect, test } from 'bun:test';
import { Arena } from '../../src/stack/arena.ts';
import { FlowField, readFlowRow, TrackBit } from '../../src/stack/flow-row.ts';
import { FlowTable, NO_FLOW } from '../../src/stack/flow-table.ts';
import { HalfSipHash } from '../../src/stack/sip-hash.ts';
import type { Instant } from '../../src/stack/time.ts';
import { writeAddress } from '../../src/stack/wire/ip-address.ts';

const TCP = 6;
const NOW = 77_000 as Instant;

interface Tuple {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** A table, and calls of it with addresses as text. */
class Table {
  readonly #arena: Arena;
  readonly #sourceAt: number;
  readonly #destinationAt: number;
  readonly flows: FlowTable;

  constructor(capacity: number, key = 0x1234_5678) {
    this.#arena = new Arena(new ArrayBuffer(FlowTable.bytes(capacity) + 256));
    this.flows = new FlowTable(this.#arena, capacity, new HalfSipHash(key, 0x9abc_def0));
    this.#sourceAt = this.#arena.take(16);
    this.#destinationAt = this.#arena.take(16);
  }

  get view(): DataView {
    return this.#arena.view;
  }

  hash(tuple: Tuple, protocol = TCP): number {
    const length = this.#write(tuple);
    const ports = (tuple.sourcePort << 16) | tuple.destinationPort;
    return this.flows.hashOf(this.#sourceAt, this.#destinationAt, length, ports, protocol);
  }

  insert(tuple: Tuple, protocol = TCP): number {
    const hash = this.hash(tuple, protocol);
    const { sourcePort, destinationPort } = tuple;
    return this.flows.insert(
      hash,
      this.#sourceAt,
      this.#destinationAt,
      this.#write(tuple),
      sourcePort,
      destinationPort,
      protocol,
      NOW,
    );
  }

  find(tuple: Tuple, protocol = TCP): number {
    const hash = this.hash(tuple, protocol);
    const { sourcePort, destinationPort } = tuple;
    return this.flows.find(
      hash,
      this.#sourceAt,
      this.#destinationAt,
      this.#write(tuple),
      sourcePort,
      destinationPort,
      protocol,
    );
  }

  /** Writes where the flow in `row` really goes, and which source is seen there. */
  translate(row: number, { source, destination, sourcePort, destinationPort }: Tuple): number {
    const at = this.flows.rowAt(row);
    writeAddress(destination, this.view, at + FlowField.UPSTREAM);
    writeAddress(source, this.view, at + FlowField.NAT_SOURCE);
    this.view.setUint16(at + FlowField.UPSTREAM_PORT, destinationPort, true);
    this.view.setUint16(at + FlowField.NAT_SOURCE_PORT, sourcePort, true);
    return this.flows.insertReply(row);
  }

  #write({ source, destination }: Tuple): number {
    writeAddress(destination, this.view, this.#destinationAt);
    return writeAddress(source, this.view, this.#sourceAt) === 4 ? 4 : 16;
  }
}

const V4 = {
  source: '10.0.0.1',
  destination: '10.0.0.2',
  sourcePort: 40_000,
  destinationPort: 80,
};
const V6 = { ...V4, source: 'fd00::1', destination: 'fd00::2' };

test('a flow is found by its whole tuple, and by nothing else', () => {
  for (const tuple of [V4, V6]) {
    const table = new Table(8);
    const row = table.insert(tuple);
    expect(table.find(tuple)).toBe(row);
    const isIpv6 = tuple === V6;
    for (const other of [
      { ...tuple, source: isIpv6 ? 'fd00::9' : '10.0.0.9' },
      { ...tuple, destination: isIpv6 ? 'fd00::9' : '10.0.0.9' },
      { ...tuple, sourcePort: 40_001 },
      { ...tuple, destinationPort: 81 },
      { ...tuple, source: tuple.destination, destination: tuple.source },
    ]) {
      expect(table.find(other)).toBe(NO_FLOW);
    }
    expect(table.find(tuple, 17)).toBe(NO_FLOW);
  }
});

test('a row holds the tuple as text', () => {
  const table = new Table(8);
  for (const tuple of [V4, V6]) {
    const at = table.flows.rowAt(table.insert(tuple));
    const flow = readFlowRow(table.view, at);
    expect([flow?.source.ip, flow?.source.port]).toEqual([tuple.source, 40_000]);
    expect([flow?.destination.ip, flow?.destination.port]).toEqual([tuple.destination, 80]);
    expect(flow?.startedAt).toBe(NOW);
  }
});

test('a full table is an answer', () => {
  const table = new Table(2);
  table.insert(V4);
  table.insert(V6);
  expect(table.insert({ ...V4, sourcePort: 1 })).toBe(NO_FLOW);
  expect(table.flows.used).toBe(2);
});

test('a table may hold fewer flows than it has rows, and those beyond the limit live on', () => {
  const table = new Table(3);
  const rows = [1, 2].map((sourcePort) => table.insert({ ...V4, sourcePort }));
  table.flows.limit = 1;
  expect(table.flows.isFull).toBe(true);
  expect(table.insert(V6)).toBe(NO_FLOW);
  table.flows.remove(rows[0]!);
  expect(table.insert(V6)).toBe(NO_FLOW);
  expect(table.find({ ...V4, sourcePort: 2 })).toBe(rows[1]!);
  table.flows.limit = 2;
  expect(table.insert(V6)).not.toBe(NO_FLOW);
  table.flows.limit = 3;
  expect(table.insert(V4)).not.toBe(NO_FLOW);
  expect(table.insert({ ...V4, sourcePort: 9 })).toBe(NO_FLOW);
});

test('a removed row is free at once, and comes clean to its next flow', () => {
  const table = new Table(1);
  const row = table.insert(V6);
  table.view.setUint32(table.flows.rowAt(row) + FlowField.RETRANSMITS, 7, true);
  table.flows.remove(row);
  expect(table.find(V6)).toBe(NO_FLOW);
  expect(table.flows.used).toBe(0);
  expect(table.insert(V4)).toBe(row);
  expect(readFlowRow(table.view, table.flows.rowAt(row))).toMatchObject({
    retransmits: 0,
    source: { ip: '10.0.0.1' },
  });
});

test('a serial number tells a flow from the next one in its row', () => {
  const table = new Table(1);
  const row = table.insert(V4);
  expect(table.flows.isLive(row, 1)).toBe(true);
  table.flows.remove(row);
  expect(table.flows.isLive(row, 1)).toBe(false);
  table.insert(V4);
  expect(table.flows.isLive(row, 1)).toBe(false);
  expect(table.flows.isLive(row, 2)).toBe(true);
  expect(table.flows.isLive(-1, 0)).toBe(false);
  expect(table.flows.isLive(1, 0)).toBe(false);
});

test('the hash depends on the key, and on every part of the tuple', () => {
  const one = new Table(1);
  const other = new Table(1, 0x1234_5679);
  expect(one.hash(V4)).not.toBe(other.hash(V4));
  const hashes = [
    one.hash(V4),
    one.hash(V6),
    one.hash({ ...V4, sourcePort: 40_001 }),
    one.hash({ ...V4, destinationPort: 81 }),
    one.hash({ ...V4, source: '10.0.0.3' }),
    one.hash(V4, 17),
  ];
  expect(new Set(hashes).size).toBe(hashes.length);
});

/** What the upstream sees of V4, and its answer. */
const TRANSLATED = {
  source: '192.0.2.1',
  destination: '198.18.0.9',
  sourcePort: 1024,
  destinationPort: 8080,
};
const reversed = (tuple: Tuple): Tuple => ({
  source: tuple.destination,
  destination: tuple.source,
  sourcePort: tuple.destinationPort,
  destinationPort: tuple.sourcePort,
});

test('a flow is found by its replies too, and the table says so', () => {
  const table = new Table(8);
  const row = table.insert(V4);
  expect(table.translate(row, TRANSLATED)).toBe(NO_FLOW);
  expect(table.find(reversed(TRANSLATED))).toBe(row);
  expect(table.flows.foundReply).toBe(true);
  expect(table.find(V4)).toBe(row);
  expect(table.flows.foundReply).toBe(false);
  expect(table.find(TRANSLATED)).toBe(NO_FLOW);
  expect(table.find(reversed(V4))).toBe(NO_FLOW);
  expect(table.find(reversed(TRANSLATED), 17)).toBe(NO_FLOW);
});

test('a removed flow is found in neither direction', () => {
  const table = new Table(8);
  const row = table.insert(V4);
  table.translate(row, TRANSLATED);
  table.flows.remove(row);
  expect(table.find(V4)).toBe(NO_FLOW);
  expect(table.find(reversed(TRANSLATED))).toBe(NO_FLOW);
});

test('a reply tuple that is taken is refused, and its owner named', () => {
  const table = new Table(8);
  const first = table.insert(V4);
  table.translate(first, TRANSLATED);
  const second = table.insert({ ...V4, sourcePort: 40_001 });
  expect(table.translate(second, TRANSLATED)).toBe(first);
  expect(table.find(reversed(TRANSLATED))).toBe(first);
  const third = table.insert(reversed({ ...TRANSLATED, sourcePort: 1025 }));
  expect(table.translate(second, { ...TRANSLATED, sourcePort: 1025 })).toBe(third);
  // What was refused leaves nothing behind.
  table.flows.remove(second);
  expect(table.find(reversed(TRANSLATED))).toBe(first);
});

test('a flow from an end to itself has one tuple', () => {
  const table = new Table(8);
  const own = { ...V4, destination: V4.source, destinationPort: V4.sourcePort };
  const row = table.insert(own);
  expect(table.translate(row, own)).toBe(NO_FLOW);
  const at = table.flows.rowAt(row);
  expect(table.view.getUint8(at + FlowField.TRACK_BITS) & TrackBit.HAS_REPLY).toBe(0);
  table.flows.remove(row);
  expect(table.find(own)).toBe(NO_FLOW);
});

test('a dump walks over live rows only', () => {
  const table = new Table(8);
  const rows = [0, 1, 2, 3].map((i) => table.insert({ ...V4, sourcePort: i }));
  table.flows.remove(rows[0]!);
  table.flows.remove(rows[2]!);
  const seen: number[] = [];
  for (let row = table.flows.nextLive(0); row !== NO_FLOW; row = table.flows.nextLive(row + 1)) {
    seen.push(row);
  }
  expect(seen).toEqual([rows[1]!, rows[3]!]);
  expect(table.flows.end).toBe(4);
});
