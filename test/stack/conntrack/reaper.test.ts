import { expect, test } from 'bun:test';
import { Arena } from '../../../src/stack/arena.ts';
import { Reaper } from '../../../src/stack/conntrack/reaper.ts';
import { Carrier, FlowField, TrackBit, TrackState } from '../../../src/stack/flow-row.ts';
import { FlowTable, NO_FLOW } from '../../../src/stack/flow-table.ts';
import { HalfSipHash } from '../../../src/stack/sip-hash.ts';
import { type Instant, NEVER } from '../../../src/stack/time.ts';

const SECOND = 1_000_000;

interface Row {
  readonly carrier?: Carrier;
  readonly expiresAt?: number;
  readonly bits?: number;
  readonly state?: TrackState;
}

/** A table of flows that expire, and a reaper; time in seconds. */
class Field {
  readonly flows: FlowTable;
  readonly reaper: Reaper;
  readonly reaped: number[] = [];
  readonly #arena: Arena;
  now = 0;

  constructor(capacity: number) {
    this.#arena = new Arena(new ArrayBuffer(FlowTable.bytes(capacity) + 256));
    this.flows = new FlowTable(this.#arena, capacity, new HalfSipHash(1, 2));
    const at = this.#arena.take(4);
    for (let row = 0; row < capacity; row++) {
      this.flows.insert(row, at, at, 4, row & 0xffff, 80, 17, 0 as Instant);
    }
    this.reaper = new Reaper(this.#arena, this.flows, (row) => {
      this.reaped.push(row);
      this.flows.remove(row);
    });
  }

  set(row: number, { carrier, expiresAt, bits, state }: Row): void {
    const { view } = this.#arena;
    const at = this.flows.rowAt(row);
    view.setUint8(at + FlowField.CARRIER, carrier ?? Carrier.NAT);
    view.setFloat64(at + FlowField.EXPIRES_AT, (expiresAt ?? 1e9) * SECOND, true);
    view.setUint8(at + FlowField.TRACK_BITS, bits ?? TrackBit.ASSURED | TrackBit.SEEN_REPLY);
    view.setUint8(at + FlowField.TRACK_STATE, state ?? TrackState.STREAM);
  }

  /** Runs every step up to `until`. @returns how many there were */
  runUntil(until: number): number {
    let steps = 0;
    while (this.reaper.nextAt <= until * SECOND) {
      this.now = this.reaper.nextAt;
      this.reaper.run(this.now as Instant);
      steps += 1;
    }
    return steps;
  }

  get interval(): number {
    return (this.reaper.nextAt - this.now) / SECOND;
  }
}

test('flows whose time is over are taken out, of NAT and sessions alike', () => {
  const field = new Field(4);
  field.set(0, { expiresAt: 5 });
  field.set(1, { expiresAt: 5, carrier: Carrier.SESSION });
  field.set(2, { expiresAt: 50 });
  field.set(3, { expiresAt: 0, carrier: Carrier.TCP });
  field.reaper.start(0 as Instant);
  field.runUntil(20);
  expect(field.reaped.toSorted()).toEqual([0, 1]);
  field.runUntil(60);
  expect(field.reaped.toSorted()).toEqual([0, 1, 2]);
});

test('nothing wakes the reaper before there is something to watch', () => {
  const field = new Field(1);
  expect(field.reaper.nextAt).toBe(NEVER);
  field.reaper.start(0 as Instant);
  expect(field.reaper.nextAt).toBeLessThan(SECOND);
  field.reaper.stop();
  expect(field.reaper.nextAt).toBe(NEVER);
});

test('a step looks at a part of a large table, and a round at all of it within a minute', () => {
  const rows = 50_000;
  const field = new Field(rows);
  for (let row = 0; row < rows; row++) field.set(row, {});
  field.reaper.start(0 as Instant);
  // The interval has grown to its longest by then.
  field.runUntil(120);
  for (let row = 0; row < rows; row++) field.set(row, { expiresAt: 0 });
  field.reaper.run(field.reaper.nextAt);
  expect(field.reaped).toHaveLength(1024);
  expect(field.interval).toBeLessThan(1.3);
  const fresh = new Field(rows);
  for (let row = 0; row < rows; row++) fresh.set(row, {});
  fresh.reaper.start(0 as Instant);
  fresh.runUntil(120);
  for (let row = 0; row < rows; row += 100) fresh.set(row, { expiresAt: 0 });
  fresh.runUntil(181);
  expect(fresh.reaped).toHaveLength(rows / 100);
});

test('steps follow soon while most rows have expired, and seldom when none has', () => {
  const field = new Field(5000);
  for (let row = 0; row < 5000; row++) field.set(row, { expiresAt: 400 });
  field.reaper.start(0 as Instant);
  field.runUntil(390);
  expect(field.interval).toBe(5);
  const before = field.now;
  field.runUntil(before / SECOND + 16);
  expect(field.reaped).toHaveLength(5000);
});

test('a small table is looked at every five seconds, whatever it was before', () => {
  const field = new Field(10);
  for (let row = 0; row < 10; row++) field.set(row, {});
  field.reaper.start(0 as Instant);
  field.runUntil(600);
  expect(field.interval).toBe(5);
});

test('what expired, never had an answer, or is over gives way, in this order of looking', () => {
  for (const [row, expected] of [
    [{ expiresAt: 1 }, 2],
    [{ state: TrackState.TIME_WAIT }, 2],
    [{ state: TrackState.CLOSE }, 2],
    [{ bits: 0 }, 2],
    [{ bits: TrackBit.SEEN_REPLY }, 2],
    [{}, NO_FLOW],
    [{ carrier: Carrier.TCP, expiresAt: 1, bits: 0 }, NO_FLOW],
  ] as const) {
    const field = new Field(4);
    for (const other of [0, 1, 3]) field.set(other, {});
    field.set(2, row);
    expect(field.reaper.findVictim((2 * SECOND) as Instant)).toBe(expected);
  }
});

test('one that was never answered gives way before one that was', () => {
  const field = new Field(4);
  for (const row of [0, 1, 2, 3]) field.set(row, {});
  field.set(1, { bits: TrackBit.SEEN_REPLY });
  field.set(3, { bits: 0 });
  expect(field.reaper.findVictim(0 as Instant)).toBe(3);
});

test('the search for a victim goes on where the last one stopped', () => {
  const field = new Field(200);
  for (let row = 0; row < 200; row++) field.set(row, {});
  field.set(150, { bits: 0 });
  const found = [1, 2, 3].map(() => field.reaper.findVictim(0 as Instant));
  expect(found).toEqual([NO_FLOW, NO_FLOW, 150]);
});
