import { expect, test } from 'bun:test';
import { Arena } from '../../src/stack/arena.ts';
import { HalfSipHash } from '../../src/stack/sip-hash.ts';
import { Sources } from '../../src/stack/sources.ts';
import { writeAddress } from '../../src/stack/wire/ip-address.ts';

/** Sources by their text; chains are long, for there are few buckets. */
class Table {
  readonly #arena: Arena;
  readonly #sources: Sources;
  readonly #at: number;

  constructor(capacity: number) {
    this.#arena = new Arena(new ArrayBuffer(Sources.bytes(capacity) + 256));
    this.#sources = new Sources(this.#arena, capacity, new HalfSipHash(1, 2));
    this.#at = this.#arena.take(16);
  }

  take(source: string, isClient = false): void {
    this.#sources.take(this.#at, this.#write(source), isClient);
  }

  release(source: string, isClient = false): void {
    this.#sources.release(this.#at, this.#write(source), isClient);
  }

  count(source: string): number {
    return this.#sources.count(this.#at, this.#write(source));
  }

  isClient(source: string): boolean {
    return this.#sources.isClient(this.#at, this.#write(source));
  }

  #write(source: string): number {
    return writeAddress(source, this.#arena.view, this.#at) === 4 ? 4 : 16;
  }
}

test('what is counted for each protocol is no part of the rest', () => {
  const arena = new Arena(new ArrayBuffer(Sources.bytes(8) + 256));
  const sources = new Sources(arena, 8, new HalfSipHash(1, 2));
  const at = arena.take(16);
  writeAddress('10.0.0.1', arena.view, at);
  sources.take(at, 4, false);
  for (const protocol of [6, 17, 17]) sources.take(at, 4, false, protocol);
  const counts = () => [0, 6, 17].map((protocol) => sources.count(at, 4, protocol));
  expect(counts()).toEqual([1, 1, 2]);
  sources.release(at, 4, false, 17);
  expect(counts()).toEqual([1, 1, 1]);
});

test('flows are counted for each source', () => {
  const table = new Table(8);
  table.take('10.0.0.1');
  table.take('10.0.0.1');
  table.take('10.0.0.2');
  expect([table.count('10.0.0.1'), table.count('10.0.0.2'), table.count('10.0.0.3')]).toEqual([
    2, 1, 0,
  ]);
  table.release('10.0.0.1');
  expect(table.count('10.0.0.1')).toBe(1);
});

test('a source of IPv6 is a /64, and none of IPv4', () => {
  const table = new Table(8);
  table.take('2001:db8::1');
  table.take('2001:db8::2');
  expect(table.count('2001:db8::3')).toBe(2);
  expect(table.count('2001:db8:0:1::1')).toBe(0);
  table.take('32.1.13.184');
  expect(table.count('2001:db8::1')).toBe(2);
});

test('a source is a client as long as one of its flows leaves by the pool', () => {
  const table = new Table(8);
  table.take('10.0.0.1');
  expect(table.isClient('10.0.0.1')).toBe(false);
  table.take('10.0.0.1', true);
  expect(table.isClient('10.0.0.1')).toBe(true);
  table.release('10.0.0.1', true);
  expect(table.isClient('10.0.0.1')).toBe(false);
  expect(table.isClient('10.0.0.2')).toBe(false);
});

test('rows are used again, however many sources come and go', () => {
  const table = new Table(4);
  for (let round = 0; round < 50; round++) {
    const names = [0, 1, 2, 3].map((i) => `10.0.${round}.${i}`);
    for (const name of names) table.take(name);
    for (const name of names) expect(table.count(name)).toBe(1);
    // In another order than they came.
    for (const i of [2, 0, 3, 1]) table.release(names[i] ?? '');
    for (const name of names) expect(table.count(name)).toBe(0);
  }
});
