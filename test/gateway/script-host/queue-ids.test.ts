import { expect, test } from 'bun:test';
import { QueueIds } from '../../../src/gateway/script-host/queue-ids.ts';

const UINT32_MAX = 0xffff_ffff;

test('with one queue numbers are what they were', () => {
  const ids = new QueueIds(0, 1);
  for (const id of [0, 1, UINT32_MAX]) {
    expect([ids.fromQueue(id), ids.toQueue(id), ids.isOfQueue(id)]).toEqual([id, id, true]);
  }
});

test('numbers of several queues are never the same, and come back as they were', () => {
  const queues = [0, 1, 2].map((queue) => new QueueIds(queue, 3));
  const numbers = [0, 1, 77, UINT32_MAX];
  const known = queues.flatMap((ids) => numbers.map((id) => ids.fromQueue(id)));
  expect(new Set(known).size).toBe(known.length);
  for (const [queue, ids] of queues.entries()) {
    const own = numbers.map((id) => ids.fromQueue(id));
    expect(own.map((id) => ids.toQueue(id))).toEqual(numbers);
    for (const [other, { isOfQueue }] of queues.entries()) {
      expect(own.map(isOfQueue)).toEqual(own.map(() => other === queue));
    }
  }
});
