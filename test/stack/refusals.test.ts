/** The memory of refusals alone; what datagrams make of it is in datagrams.test.ts. */
import { expect, test } from 'bun:test';
import { Arena } from '../../src/stack/arena.ts';
import { FlowField } from '../../src/stack/flow-row.ts';
import { IcmpErrorKind } from '../../src/stack/icmp-error-kind.ts';
import { emptyPacket, type Packet } from '../../src/stack/packet.ts';
import { NOT_REFUSED, Refusals, SILENT } from '../../src/stack/refusals.ts';
import type { Instant } from '../../src/stack/time.ts';

const START = 5_000_000 as Instant;
const ROW_AT = 64;
const HASH = 0x8000_0001;
const PLACES = 4096;

function memory(buffer = new ArrayBuffer(Refusals.BYTES + 1024)) {
  const arena = new Arena(buffer);
  arena.take(512);
  const refusals = new Refusals(arena);
  const { view } = arena;
  view.setUint32(ROW_AT + FlowField.HASH, HASH, true);
  view.setUint8(ROW_AT + FlowField.FAMILY, 6);
  view.setUint8(ROW_AT + FlowField.PROTOCOL, 17);
  view.setUint16(ROW_AT + FlowField.SOURCE_PORT, 40_000, true);
  view.setUint16(ROW_AT + FlowField.DESTINATION_PORT, 53, true);
  view.setUint32(ROW_AT + FlowField.SOURCE + 12, 1);
  view.setUint32(ROW_AT + FlowField.DESTINATION + 12, 2);
  const packet: Packet = {
    ...emptyPacket(),
    hash: HASH,
    protocol: 17,
    addressLength: 16,
    sourceAt: ROW_AT + FlowField.SOURCE,
    destinationAt: ROW_AT + FlowField.DESTINATION,
    sourcePort: 40_000,
    destinationPort: 53,
  };
  return { refusals, packet, buffer };
}

const later = (us: number): Instant => (START + us) as Instant;

test('a refusal is remembered for a second, with how its client was told', () => {
  const { refusals, packet } = memory();
  expect(refusals.find(packet, START)).toBe(NOT_REFUSED);
  for (const kind of [IcmpErrorKind.PORT, IcmpErrorKind.PROHIBITED, SILENT] as const) {
    refusals.add(ROW_AT, kind, START);
    expect(refusals.find(packet, later(999_999))).toBe(kind);
    expect(refusals.find(packet, later(1_000_000))).toBe(NOT_REFUSED);
  }
});

test('every part of the tuple counts', () => {
  const { refusals, packet } = memory();
  refusals.add(ROW_AT, SILENT, START);
  const changes: Partial<Packet>[] = [
    { sourcePort: 40_001 },
    { destinationPort: 54 },
    { protocol: 58 },
    { addressLength: 4 },
    { sourceAt: packet.destinationAt },
    { destinationAt: packet.sourceAt },
  ];
  for (const change of changes) {
    expect(refusals.find({ ...packet, ...change }, START)).toBe(NOT_REFUSED);
  }
});

test('two flows with one place take turns', () => {
  const { refusals, packet } = memory();
  refusals.add(ROW_AT, SILENT, START);
  expect(refusals.find({ ...packet, hash: HASH + PLACES, sourcePort: 1 }, START)).toBe(NOT_REFUSED);
  expect(refusals.find({ ...packet, hash: HASH + 1 }, START)).toBe(NOT_REFUSED);
  expect(refusals.find(packet, START)).toBe(SILENT);
});

test('what an earlier owner of the memory refused is forgotten', () => {
  const { refusals, buffer } = memory();
  refusals.add(ROW_AT, SILENT, START);
  const { refusals: next, packet } = memory(buffer);
  expect(next.find(packet, START)).toBe(NOT_REFUSED);
});
