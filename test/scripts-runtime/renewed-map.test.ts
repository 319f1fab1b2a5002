import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { RenewedMap } from '../../src/scripts-runtime/renewed-map.ts';

const LIVE_MAX = 40;

test('it is a Map, however often it is made anew', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(2 * LIVE_MAX), { minLength: 5000, maxLength: 6000 }), (keys) => {
      const model = new Map<number, number>();
      const renewed = new RenewedMap<number, number>();
      for (const [i, key] of keys.entries()) {
        if (model.size >= LIVE_MAX || model.has(key)) {
          expect(renewed.delete(key)).toBe(model.delete(key));
        } else {
          renewed.set(key, i);
          model.set(key, i);
        }
        expect(renewed.get(key)).toBe(model.get(key));
        expect(renewed.has(key)).toBe(model.has(key));
        expect(renewed.size).toBe(model.size);
      }
      expect([...renewed.values()]).toEqual([...model.values()]);
    }),
    { numRuns: 20 },
  );
});
