import { expect, test } from 'bun:test';
import { NextTurn, STARVED_WAIT_MS } from '../../../src/gateway/dataplane/next-turn.ts';
import { NO_ROW } from '../../../src/gateway/dataplane/row-queues.ts';

const BIT = 4;

/** Bits of rows, as `UpstreamTable` has them. */
class RowBits {
  readonly #rows = new Uint8Array(8);

  has(row: number, bit: number): boolean {
    return (this.#rows[row]! & bit) !== 0;
  }

  raise(row: number, bit: number): void {
    this.#rows[row]! |= bit;
  }

  lower(row: number, bit: number): void {
    this.#rows[row]! &= ~bit;
  }
}

const makeList = () => {
  const bits = new RowBits();
  const next = new NextTurn(bits, BIT, 8);
  return { bits, next, turn: () => Array.from({ length: next.begin() }, (_, i) => next.take(i)) };
};

test('a row stands in it once, and comes with the next turn only', () => {
  const { next, turn } = makeList();
  next.add(5);
  next.add(2);
  next.add(5);
  expect(turn()).toEqual([5, 2]);
  expect(turn()).toEqual([]);
});

test('what is added during a turn is for the one behind it', () => {
  const { next } = makeList();
  next.add(1);
  expect(next.begin()).toBe(1);
  expect(next.take(0)).toBe(1);
  next.add(1);
  next.add(3);
  expect(next.begin()).toBe(2);
  expect([next.take(0), next.take(1)]).toEqual([1, 3]);
});

test('a row that was cleared is passed by, and its successor comes once', () => {
  const { bits, next, turn } = makeList();
  next.add(6);
  bits.lower(6, BIT);
  expect(turn()).toEqual([NO_ROW]);
  next.add(6);
  bits.lower(6, BIT);
  next.add(6);
  expect(turn()).toEqual([6, NO_ROW]);
});

test('the loop does not sleep while a row goes on, and little while slabs are short', () => {
  const { next, turn } = makeList();
  expect(next.patienceMs).toBe(Number.POSITIVE_INFINITY);
  next.add(0);
  expect(next.patienceMs).toBe(0);
  next.isStarved = true;
  expect(next.patienceMs).toBe(STARVED_WAIT_MS);
  turn();
  expect(next.patienceMs).toBe(Number.POSITIVE_INFINITY);
  expect(next.isStarved).toBe(false);
});
