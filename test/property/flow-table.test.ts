/** The flow table against a Map. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Arena } from '../../src/stack/arena.ts';
import { FlowTable, NO_FLOW } from '../../src/stack/flow-table.ts';
import { HalfSipHash } from '../../src/stack/sip-hash.ts';
import type { Instant } from '../../src/stack/time.ts';

const CAPACITY = 6;
const ADDRESS_BYTES = 4;

/** Few tuples, so that the same come again; chains are forced by a hash of few values. */
const anyStep = fc.record({
  what: fc.constantFrom('insert', 'insert', 'remove', 'find'),
  address: fc.nat(2),
  port: fc.nat(2),
  protocol: fc.constantFrom(6, 17),
});

for (const hashes of [1, 3, 0x1_0000_0000]) {
  test(`the table agrees with a Map when there are ${hashes} hashes`, () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 120 }), (steps) => {
        const arena = new Arena(new ArrayBuffer(FlowTable.bytes(CAPACITY) + 256));
        const table = new FlowTable(arena, CAPACITY, new HalfSipHash(1, 2));
        const sourceAt = arena.take(ADDRESS_BYTES);
        const destinationAt = arena.take(ADDRESS_BYTES);
        const model = new Map<string, number>();
        for (const { what, address, port, protocol } of steps) {
          arena.view.setUint32(sourceAt, 0x0a00_0000 + address);
          const hash =
            table.hashOf(sourceAt, destinationAt, ADDRESS_BYTES, (port << 16) | 80, protocol) %
            hashes;
          const key = `${protocol} ${address}:${port}`;
          const found = table.find(
            hash,
            sourceAt,
            destinationAt,
            ADDRESS_BYTES,
            port,
            80,
            protocol,
          );
          expect(found).toBe(model.get(key) ?? NO_FLOW);
          if (what === 'insert' && found === NO_FLOW) {
            const row = table.insert(
              hash,
              sourceAt,
              destinationAt,
              ADDRESS_BYTES,
              port,
              80,
              protocol,
              0 as Instant,
            );
            if (model.size === CAPACITY) expect(row).toBe(NO_FLOW);
            else {
              expect([...model.values()]).not.toContain(row);
              model.set(key, row);
            }
          } else if (what === 'remove' && found !== NO_FLOW) {
            table.remove(found);
            model.delete(key);
          }
          expect(table.used).toBe(model.size);
        }
      }),
      { numRuns: 200, includeErrorInReport: true },
    );
  });
}
