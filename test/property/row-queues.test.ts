import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { NO_ROW, RowQueues } from '../../src/gateway/dataplane/row-queues.ts';

const QUEUES = 3;
const ROWS = 8;

const command = fc.record({
  kind: fc.constantFrom('push', 'remove'),
  queue: fc.nat(QUEUES - 1),
  row: fc.nat(ROWS - 1),
});

/** Rows of a queue, oldest first, as its links have them. */
function rowsOf(queues: RowQueues, queue: number): number[] {
  const rows: number[] = [];
  for (let row = queues.oldest(queue); row !== NO_ROW; row = queues.after(row)) rows.push(row);
  return rows;
}

test('queues of rows behave as arrays', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const queues = new RowQueues(QUEUES, ROWS);
      const model: number[][] = Array.from({ length: QUEUES }, () => []);
      for (const { kind, queue, row } of commands) {
        const holder = model.find((rows) => rows.includes(row));
        if (kind === 'remove') {
          queues.remove(row);
          holder?.splice(holder.indexOf(row), 1);
        } else if (holder === undefined) {
          queues.push(queue, row);
          model[queue]?.push(row);
        }
        expect(model.map((_, i) => rowsOf(queues, i))).toEqual(model);
        expect(model.map((_, i) => queues.size(i))).toEqual(model.map((rows) => rows.length));
      }
    }),
  );
});
