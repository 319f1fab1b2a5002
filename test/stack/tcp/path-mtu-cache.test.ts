import { describe, expect, test } from 'bun:test';
import { Arena } from '../../../src/stack/arena.ts';
import { FLOW_ROW_BYTES, FlowField } from '../../../src/stack/flow-row.ts';
import { HalfSipHash } from '../../../src/stack/sip-hash.ts';
import { PathMtuCache } from '../../../src/stack/tcp/path-mtu-cache.ts';
import type { Instant } from '../../../src/stack/time.ts';
import { writeAddress } from '../../../src/stack/wire/ip-address.ts';
import { allocatedTypes } from '../../support/no-alloc.ts';

const START = 5_000_000 as Instant;
const LIFE_US = 600_000_000;
const at = (us: number): Instant => (START + us) as Instant;

/** A cache, and a flow row for an address when it is asked about. */
class Rig {
  readonly arena = new Arena(new ArrayBuffer(PathMtuCache.BYTES + FLOW_ROW_BYTES + 64));
  readonly rowAt = this.arena.take(FLOW_ROW_BYTES);
  readonly cache = new PathMtuCache(this.arena, new HalfSipHash(1, 2));

  row(address: string): number {
    const { view, bytes } = this.arena;
    bytes.fill(0, this.rowAt, this.rowAt + FLOW_ROW_BYTES);
    const family = writeAddress(address, view, this.rowAt + FlowField.SOURCE);
    view.setUint8(this.rowAt + FlowField.FAMILY, family);
    return this.rowAt;
  }
}

describe('the path MTU cache', () => {
  test('knows nothing at first', () => {
    const rig = new Rig();
    expect(rig.cache.find(rig.row('198.18.0.1'), START)).toBe(0);
  });

  for (const address of ['198.18.0.1', 'fd00::1', '0.0.0.0', '::']) {
    test(`gives back what was learnt of ${address}`, () => {
      const rig = new Rig();
      rig.cache.lower(rig.row(address), 1300, START);
      expect(rig.cache.find(rig.row(address), START)).toBe(1300);
    });
  }

  test('forgets it after ten minutes (RFC 1191 §6.3, RFC 8201 §4)', () => {
    const rig = new Rig();
    rig.cache.lower(rig.row('198.18.0.1'), 1300, START);
    expect(rig.cache.find(rig.rowAt, at(LIFE_US - 1))).toBe(1300);
    expect(rig.cache.find(rig.rowAt, at(LIFE_US))).toBe(0);
  });

  test('keeps the least of what was said within its time', () => {
    const rig = new Rig();
    rig.cache.lower(rig.row('198.18.0.1'), 1300, START);
    rig.cache.lower(rig.rowAt, 1400, at(1));
    expect(rig.cache.find(rig.rowAt, at(1))).toBe(1300);
    rig.cache.lower(rig.rowAt, 1280, at(2));
    expect(rig.cache.find(rig.rowAt, at(2))).toBe(1280);
    rig.cache.lower(rig.rowAt, 1400, at(2 + LIFE_US));
    expect(rig.cache.find(rig.rowAt, at(2 + LIFE_US))).toBe(1400);
  });

  test('lives on when it is confirmed', () => {
    const rig = new Rig();
    rig.cache.lower(rig.row('198.18.0.1'), 1300, START);
    rig.cache.lower(rig.rowAt, 1300, at(LIFE_US / 2));
    expect(rig.cache.find(rig.rowAt, at(LIFE_US))).toBe(1300);
  });

  test('forgets when a longer packet has arrived', () => {
    const rig = new Rig();
    rig.cache.lower(rig.row('198.18.0.1'), 1300, START);
    rig.cache.forgetBelow(rig.row('198.18.0.2'), 1500, START);
    expect(rig.cache.find(rig.row('198.18.0.1'), START)).toBe(1300);
    rig.cache.forgetBelow(rig.rowAt, 1300, START);
    expect(rig.cache.find(rig.rowAt, START)).toBe(1300);
    rig.cache.forgetBelow(rig.rowAt, 1301, START);
    expect(rig.cache.find(rig.rowAt, START)).toBe(0);
  });

  test('tells an IPv4 address from an IPv6 address with the same bits', () => {
    const rig = new Rig();
    rig.cache.lower(rig.row('198.18.0.1'), 1300, START);
    expect(rig.cache.find(rig.row('c612:1::'), START)).toBe(0);
  });

  test('of a thousand addresses remembers some, and of none what was said of another', () => {
    const rig = new Rig();
    const addresses = Array.from({ length: 1000 }, (_, i) => `10.0.${i >>> 8}.${i & 255}`);
    for (const [i, address] of addresses.entries()) {
      rig.cache.lower(rig.row(address), 600 + (i % 800), START);
    }
    const found = addresses.map((address) => rig.cache.find(rig.row(address), START));
    const known = found.flatMap((mtu, i) => (mtu === 0 ? [] : [mtu === 600 + (i % 800)]));
    expect(known.every(Boolean)).toBe(true);
    expect(known.length).toBeGreaterThan(200);
    expect(known.length).toBeLessThanOrEqual(256);
  });

  test('begins empty over the memory of another', () => {
    const rig = new Rig();
    rig.cache.lower(rig.row('198.18.0.1'), 1300, START);
    const arena = new Arena(rig.arena.buffer);
    arena.take(FLOW_ROW_BYTES);
    const next = new PathMtuCache(arena, new HalfSipHash(1, 2));
    expect(next.find(rig.rowAt, START)).toBe(0);
  });

  test('allocates nothing', () => {
    const rig = new Rig();
    const row = rig.row('fd00::1');
    const allocated = allocatedTypes(() => {
      rig.cache.lower(row, 1300, START);
      rig.cache.find(row, START);
      rig.cache.forgetBelow(row, 1500, START);
    });
    expect(allocated).toEqual([]);
  });
});
