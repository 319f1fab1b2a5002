/** The slab pool against a model that knows only which bytes are taken. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Arena } from '../../src/stack/arena.ts';
import { NO_SLAB, SLAB_PAYLOAD_AT, SlabPool } from '../../src/stack/slab-pool.ts';

const BUDGET = 4 * 69_632;

/** Takes a slab for so many bytes, or gives the n-th one back. */
const anyStep = fc.oneof(
  fc.record({ take: fc.constantFrom(1, 1952, 1953, 17_184, 17_185, 69_408) }),
  fc.record({ release: fc.nat(200) }),
);

test('slabs never overlap, and the budget is exactly what is taken', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 300 }), (steps) => {
      const arena = new Arena(new ArrayBuffer(SlabPool.bytes(BUDGET)));
      const slabs = new SlabPool(arena, BUDGET);
      const taken: { at: number; end: number }[] = [];
      for (const step of steps) {
        if ('release' in step) {
          const [slab] = taken.splice(step.release % Math.max(1, taken.length), 1);
          if (slab !== undefined) slabs.release(slab.at);
        } else {
          const at = slabs.take(step.take);
          if (at === NO_SLAB) continue;
          const end = at + slabs.sizeOf(at);
          expect(slabs.payloadOf(at)).toBeGreaterThanOrEqual(step.take);
          expect(at + SLAB_PAYLOAD_AT + step.take).toBeLessThanOrEqual(arena.buffer.byteLength);
          expect(taken.filter((other) => at < other.end && other.at < end)).toEqual([]);
          taken.push({ at, end });
        }
        const used = taken.reduce((sum, { at, end }) => sum + end - at, 0);
        expect(slabs.bytesUsed).toBe(used);
        expect(used).toBeLessThanOrEqual(slabs.bytesLimit);
      }
      // With everything given back, the whole budget serves any class again.
      for (const { at } of taken) slabs.release(at);
      const large = Array.from({ length: 4 }, () => slabs.take(69_408));
      expect(large).not.toContain(NO_SLAB);
    }),
    { numRuns: 200, includeErrorInReport: true },
  );
});
