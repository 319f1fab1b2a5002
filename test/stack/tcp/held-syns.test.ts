import { expect, test } from 'bun:test';
import { Arena } from '../../../src/stack/arena.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../../src/stack/counters.ts';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import { FLOW_ROW_BYTES } from '../../../src/stack/flow-row.ts';
import { HalfSipHash } from '../../../src/stack/sip-hash.ts';
import { HeldSyns } from '../../../src/stack/tcp/held-syns.ts';
import { TCB_ROW_BYTES, Tcb } from '../../../src/stack/tcp/tcb.ts';
import { writeAddress } from '../../../src/stack/wire/ip-address.ts';

const ROWS = 8;

/** A count with its limits, rows to take, and addresses as text. */
class Bench {
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  readonly held: HeldSyns;
  readonly #arena: Arena;
  readonly #tcb: Tcb;
  readonly #addressAt: number;

  constructor(limit: number, limitPerSource: number) {
    const rows = ROWS * (TCB_ROW_BYTES + FLOW_ROW_BYTES);
    this.#arena = new Arena(new ArrayBuffer(HeldSyns.BYTES + rows + 512));
    const hash = new HalfSipHash(3, 4);
    this.held = new HeldSyns(this.#arena, limit, limitPerSource, limit, hash, this.counters);
    const tcbsAt = this.#arena.take(ROWS * TCB_ROW_BYTES);
    this.#tcb = new Tcb(this.#arena.view, tcbsAt, this.#arena.take(ROWS * FLOW_ROW_BYTES));
    this.#addressAt = this.#arena.take(16);
  }

  bucket(address: string): number {
    const length = writeAddress(address, this.#arena.view, this.#addressAt) === 4 ? 4 : 16;
    return this.held.bucketOf(this.#addressAt, length);
  }

  take(row: number, address: string): DropReason {
    const bucket = this.bucket(address);
    const reason = this.held.check(bucket);
    if (reason === DropReason.NONE) this.held.take(this.#tcb.moveTo(row), bucket);
    return reason;
  }

  release(row: number): void {
    this.held.release(this.#tcb.moveTo(row));
  }

  get now(): number {
    return this.counters.get(Counter.HELD_SYNS_NOW);
  }
}

test('an IPv4 source is an address, an IPv6 source a /64', () => {
  const bench = new Bench(8, 8);
  expect(bench.bucket('10.0.0.1')).not.toBe(bench.bucket('10.0.0.2'));
  expect(bench.bucket('fd00:1:2:3::1')).toBe(bench.bucket('fd00:1:2:3:ffff::9'));
  expect(bench.bucket('fd00:1:2:3::1')).not.toBe(bench.bucket('fd00:1:2:4::1'));
});

test('the limit of a source comes before the others are shut out', () => {
  const bench = new Bench(3, 2);
  expect(bench.take(0, '10.0.0.1')).toBe(DropReason.NONE);
  expect(bench.take(1, '10.0.0.1')).toBe(DropReason.NONE);
  expect(bench.take(2, '10.0.0.1')).toBe(DropReason.HELD_SYN_SOURCE_LIMIT);
  expect(bench.take(2, '10.0.0.2')).toBe(DropReason.NONE);
  expect(bench.take(3, '10.0.0.3')).toBe(DropReason.HELD_SYN_LIMIT);
  expect(bench.now).toBe(3);
});

test('other limits hold for what comes: what is held beyond them stays', () => {
  const bench = new Bench(4, 4);
  for (const row of [0, 1, 2]) expect(bench.take(row, '10.0.0.1')).toBe(DropReason.NONE);
  bench.held.setLimits(2, 1, 1);
  expect(bench.counters.get(Counter.HELD_SYNS_LIMIT_NOW)).toBe(2);
  expect(bench.now).toBe(3);
  expect(bench.held.isPressed).toBe(true);
  expect(bench.take(3, '10.0.0.2')).toBe(DropReason.HELD_SYN_LIMIT);
  bench.release(0);
  bench.release(1);
  expect(bench.take(3, '10.0.0.1')).toBe(DropReason.HELD_SYN_SOURCE_LIMIT);
  expect(bench.take(3, '10.0.0.2')).toBe(DropReason.NONE);
});

test('a place is given back once, however often it is released', () => {
  const bench = new Bench(2, 1);
  bench.take(0, '10.0.0.1');
  bench.take(1, '10.0.0.2');
  bench.release(0);
  bench.release(0);
  expect(bench.now).toBe(1);
  expect(bench.take(2, '10.0.0.1')).toBe(DropReason.NONE);
  expect(bench.take(3, '10.0.0.3')).toBe(DropReason.HELD_SYN_LIMIT);
});

test('the limit is a gauge beside the count', () => {
  expect(new Bench(1234, 2).counters.get(Counter.HELD_SYNS_LIMIT_NOW)).toBe(1234);
});
