import { expect, test } from 'bun:test';
import { EventRing } from '../../../../src/gateway/supervisor/flows/event-ring.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../../../src/stack/flow-row.ts';
import { FlowMemory } from './flow-memory.ts';

const CAPACITY = 4;

function setUp() {
  const memory = new FlowMemory(2);
  memory.put(0);
  memory.put(1);
  const ring = new EventRing(CAPACITY);
  const serialOf = (event: number) =>
    ring.view.getFloat64(ring.rowAt(event) + FlowField.SERIAL, true);
  const push = (row: number, timeUs = 0) =>
    ring.push('UPDATE', memory.view, row * FLOW_ROW_BYTES, timeUs);
  return { memory, ring, serialOf, push };
}

test('an event keeps its name, its time and the row as it was', () => {
  const { memory, ring, serialOf, push } = setUp();
  push(1, 77);
  memory.put(1, { serial: 900 });
  expect([ring.first, ring.next]).toEqual([1, 2]);
  expect([ring.nameOf(1), ring.timeOf(1), serialOf(1)]).toEqual(['UPDATE', 77, 101]);
});

test('the oldest events give way, and those that are left are whole', () => {
  const { ring, serialOf, push } = setUp();
  for (let event = 1; event <= 10; event++) push(event % 2, event);
  expect([ring.first, ring.next]).toEqual([8, 11]);
  for (const event of [8, 9, 10]) {
    expect([ring.timeOf(event), serialOf(event)]).toEqual([event, 100 + (event % 2)]);
  }
});

test('a row that is free by now is no event, and harms none', () => {
  const { memory, ring, serialOf, push } = setUp();
  for (let event = 1; event <= 5; event++) push(0, event);
  memory.free(1);
  push(1);
  expect([ring.first, ring.next]).toEqual([3, 6]);
  expect([3, 4, 5].map(serialOf)).toEqual([100, 100, 100]);
});
