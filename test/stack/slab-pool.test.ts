import { describe, expect, test } from 'bun:test';
import { Arena } from '../../src/stack/arena.ts';
import {
  LARGE_SLAB_PAYLOAD_BYTES,
  NO_SLAB,
  SLAB_PAYLOAD_AT,
  SLAB_PAYLOAD_BYTES,
  SlabPool,
} from '../../src/stack/slab-pool.ts';

const CHUNK = 69_632;
const pool = (chunks: number): SlabPool =>
  new SlabPool(new Arena(new ArrayBuffer(SlabPool.bytes(chunks * CHUNK) + 4096)), chunks * CHUNK);

describe('a slab', () => {
  test('comes from the smallest class that holds it', () => {
    const slabs = pool(8);
    for (const [length, payload] of [
      [1, 1952],
      [1952, 1952],
      [1953, 17_184],
      [17_184, 17_184],
      [17_185, 69_408],
      [LARGE_SLAB_PAYLOAD_BYTES, 69_408],
    ] as const) {
      expect(slabs.payloadOf(slabs.take(length))).toBe(payload);
    }
    expect(SLAB_PAYLOAD_BYTES).toEqual([1952, 17_184, 69_408]);
  });

  test('of the large class holds the largest IP packet', () => {
    expect(LARGE_SLAB_PAYLOAD_BYTES).toBeGreaterThan(65_535);
  });

  test('has room for every header in front of its payload', () => {
    // virtio-net, IPv6, TCP with full options.
    expect(SLAB_PAYLOAD_AT - 32).toBeGreaterThanOrEqual(10 + 40 + 60);
  });
});

describe('the budget', () => {
  test('is counted by the size of slabs, and comes back with them', () => {
    const slabs = pool(4);
    const small = slabs.take(1);
    const large = slabs.take(60_000);
    expect(slabs.bytesUsed).toBe(CHUNK / 32 + CHUNK);
    slabs.release(small);
    slabs.release(large);
    expect(slabs.bytesUsed).toBe(0);
    expect(slabs.bytesLimit).toBe(4 * CHUNK);
  });

  test('that is used up is an answer, not an exception', () => {
    const slabs = pool(2);
    const taken = [slabs.take(60_000), slabs.take(60_000)];
    expect(slabs.take(1)).toBe(NO_SLAB);
    slabs.release(taken[0]!);
    expect(slabs.take(1)).not.toBe(NO_SLAB);
  });

  test('is used to the last slab of the smallest class', () => {
    const slabs = pool(2);
    const taken = Array.from({ length: 64 }, () => slabs.take(100));
    expect(new Set(taken).size).toBe(64);
    expect(taken).not.toContain(NO_SLAB);
    expect(slabs.take(100)).toBe(NO_SLAB);
    expect(slabs.bytesUsed).toBe(slabs.bytesLimit);
  });

  test('gives a slab that came back to the next one, though its chunk was full', () => {
    const slabs = pool(2);
    const taken = Array.from({ length: 64 }, () => slabs.take(100));
    for (const slab of [taken[40]!, taken[3]!]) {
      slabs.release(slab);
      expect(slabs.take(100)).toBe(slab);
    }
  });

  test('may be made smaller and larger again; what is in use beyond it stays so', () => {
    const slabs = pool(4);
    const taken = [slabs.take(60_000), slabs.take(60_000), slabs.take(60_000)];
    slabs.setLimit(2 * CHUNK);
    expect(slabs.bytesLimit).toBe(2 * CHUNK);
    expect(slabs.isLean).toBe(true);
    expect(slabs.take(60_000)).toBe(NO_SLAB);
    slabs.release(taken.pop()!);
    expect(slabs.take(60_000)).toBe(NO_SLAB);
    slabs.release(taken.pop()!);
    expect(slabs.take(60_000)).not.toBe(NO_SLAB);
    slabs.setLimit(9 * CHUNK);
    expect(slabs.bytesLimit).toBe(4 * CHUNK);
    expect([slabs.take(60_000), slabs.take(60_000)]).not.toContain(NO_SLAB);
    expect(slabs.take(60_000)).toBe(NO_SLAB);
  });

  test('smaller than two chunks is two chunks, in the memory that was asked for', () => {
    const slabs = new SlabPool(new Arena(new ArrayBuffer(SlabPool.bytes(1000))), 1000);
    expect(slabs.bytesLimit).toBe(2 * CHUNK);
  });
});

test('the pool is lean when less than a quarter of its chunks is free, used up or not', () => {
  const slabs = pool(8);
  // One small slab keeps a chunk; those of another class need chunks of their own.
  const taken = Array.from({ length: 6 }, (_, i) => slabs.take(i === 0 ? 100 : 60_000));
  expect(slabs.isLean).toBe(false);
  taken.push(slabs.take(17_000));
  expect(slabs.isLean).toBe(true);
  slabs.release(taken[0]!);
  expect(slabs.isLean).toBe(false);
});

describe('a chunk', () => {
  test('serves another class once all its slabs are free', () => {
    const slabs = pool(2);
    const small = Array.from({ length: 64 }, () => slabs.take(100));
    for (const slab of small.slice(0, 31)) slabs.release(slab);
    expect(slabs.take(60_000)).toBe(NO_SLAB);
    for (const slab of small.slice(31, 32)) slabs.release(slab);
    // The first 32 slabs are one chunk, whatever the order of taking within it.
    expect(slabs.take(60_000)).not.toBe(NO_SLAB);
  });
});
