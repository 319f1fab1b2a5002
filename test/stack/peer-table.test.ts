import { expect, test } from 'bun:test';
import { Arena } from '../../src/stack/arena.ts';
import { FlowField } from '../../src/stack/flow-row.ts';
import { FlowTable } from '../../src/stack/flow-table.ts';
import { PeerTable } from '../../src/stack/peer-table.ts';
import { HalfSipHash } from '../../src/stack/sip-hash.ts';
import type { Instant } from '../../src/stack/time.ts';
import { writeAddress } from '../../src/stack/wire/ip-address.ts';
import { LIMITS } from '../support/tcp-rig.ts';

const TCP = 6;
const UDP = 17;

const FAMILIES = [
  { source: '198.18.0.1', destination: '198.51.100.9', pool: '192.0.2.1', upstream: '10.0.0.5' },
  { source: 'fd00::1', destination: '2001:db8::9', pool: '2001:db8:1::1', upstream: 'fd00::5' },
] as const;

/** A table, a reader of it, and the addresses of packets in another memory. */
function setUp() {
  const memory = new ArrayBuffer(FlowTable.bytes(LIMITS.flows) + 256);
  const table = new FlowTable(new Arena(memory), LIMITS.flows, new HalfSipHash(1, 2));
  const packets = new DataView(new ArrayBuffer(64));
  return { memory, table, packets, peer: new PeerTable(memory, LIMITS) };
}

type World = ReturnType<typeof setUp>;

/** The tuple as the reader is asked for it; its hash is made where the table's is. */
function tupleOf({ memory, table, packets }: World, source: string, destination: string) {
  const own = new DataView(memory);
  const scratchAt = memory.byteLength - 64;
  const family = writeAddress(source, own, scratchAt);
  writeAddress(destination, own, scratchAt + 16);
  writeAddress(source, packets, 0);
  writeAddress(destination, packets, 16);
  const addressLength = family === 4 ? 4 : 16;
  const ports = { sourcePort: 40_000, destinationPort: 443 };
  const word = (ports.sourcePort << 16) | ports.destinationPort;
  const hash = table.hashOf(scratchAt, scratchAt + 16, addressLength, word, TCP);
  const inTable = [hash, scratchAt, scratchAt + 16, addressLength, 40_000, 443, TCP] as const;
  const tuple = { hash, sourceAt: 0, destinationAt: 16, addressLength, ...ports, protocol: TCP };
  return { tuple, insert: () => table.insert(...inTable, 1 as Instant) };
}

test.each(FAMILIES)('the flow of $source is found by its tuple, and no other', (ends) => {
  const world = setUp();
  const { peer, packets } = world;
  const { tuple, insert } = tupleOf(world, ends.source, ends.destination);
  expect(peer.has(packets, tuple)).toBe(false);
  const row = insert();
  expect(peer.has(packets, tuple)).toBe(true);
  expect(peer.has(packets, { ...tuple, sourcePort: 40_001 })).toBe(false);
  expect(peer.has(packets, { ...tuple, protocol: UDP })).toBe(false);
  expect(peer.has(packets, { ...tuple, destinationAt: 0 })).toBe(false);
  world.table.remove(row);
  expect(peer.has(packets, tuple)).toBe(false);
});

test.each(FAMILIES)('the replies to $pool are found', (ends) => {
  const world = setUp();
  const { table, peer, packets, memory } = world;
  const row = tupleOf(world, ends.source, ends.destination).insert();
  const view = new DataView(memory);
  const at = table.rowAt(row);
  writeAddress(ends.upstream, view, at + FlowField.UPSTREAM);
  writeAddress(ends.pool, view, at + FlowField.NAT_SOURCE);
  view.setUint16(at + FlowField.UPSTREAM_PORT, 40_000, true);
  view.setUint16(at + FlowField.NAT_SOURCE_PORT, 443, true);
  const { tuple } = tupleOf(world, ends.upstream, ends.pool);
  expect(peer.has(packets, tuple)).toBe(false);
  table.insertReply(row);
  expect(peer.has(packets, tuple)).toBe(true);
});

test('a chain that leads in a circle or out of the table is left', () => {
  const world = setUp();
  const { table, peer, packets, memory } = world;
  const { tuple, insert } = tupleOf(world, '198.18.0.1', '198.51.100.9');
  const at = table.rowAt(insert());
  const view = new DataView(memory);
  const other = { ...tuple, sourcePort: 1 };
  view.setInt32(at + FlowField.NEXT, 0, true);
  expect(peer.has(packets, other)).toBe(false);
  view.setInt32(at + FlowField.NEXT, 2 * LIMITS.flows + 2, true);
  expect(peer.has(packets, other)).toBe(false);
});
