import { expect, test } from 'bun:test';
import { DueQueue } from './due-queue.ts';

test('the earliest comes first, and of one time the one that was put first', () => {
  const queue = new DueQueue<string>();
  const words = ['5a', '3a', '9a', '3b', '1a', '5b', '3c', '9b', '1b', '7a'];
  for (const word of words) queue.push(Number(word[0]), word);
  expect(queue.due).toBe(1);
  const taken = words.map(() => queue.pop());
  expect(taken).toEqual(words.toSorted());
});

test('what is put between others is taken in its turn', () => {
  const queue = new DueQueue<number>();
  const taken: number[] = [];
  for (let i = 0; i < 500; i++) {
    // A walk through a ring: no order of its own.
    queue.push(1000 + ((i * 377) % 500), (i * 377) % 500);
    if (i % 3 === 2) taken.push(queue.pop());
  }
  while (queue.length > 0) taken.push(queue.pop());
  expect(taken.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, i) => i));
  const rest = taken.slice(166);
  expect(rest).toEqual(rest.toSorted((a, b) => a - b));
});

test('an empty queue is due never and gives nothing', () => {
  const queue = new DueQueue<number>();
  expect(queue.due).toBe(Number.POSITIVE_INFINITY);
  expect(() => queue.pop()).toThrow('nothing is due');
});
