import { describe, expect, test } from 'bun:test';
import { Errno } from '../../src/ffi/errno.ts';
import { SystemError } from '../../src/ffi/errors.ts';
import { lastErrno, libc } from '../../src/ffi/libc.ts';
import { addressOf, allocateStruct, copyBytes, SharedMemory } from '../../src/ffi/memory.ts';
import { allocatedTypes } from '../support/no-alloc.ts';
import { runChild } from './support/child.ts';
import { descriptorCount } from './support/descriptors.ts';

const PAGE_BYTES = 4096;

describe('SharedMemory', () => {
  test('starts zeroed, with the size that was asked for', () => {
    using memory = SharedMemory.create('culvert-test', 3 * PAGE_BYTES);
    expect(memory.buffer.byteLength).toBe(3 * PAGE_BYTES);
    expect(new Uint8Array(memory.buffer).every((byte) => byte === 0)).toBe(true);
  });

  test('a second mapping of the same file shows what the first wrote', () => {
    using first = SharedMemory.create('culvert-test', PAGE_BYTES);
    const second = SharedMemory.map(first.fd, PAGE_BYTES);
    expect(second.address).not.toBe(first.address);
    new DataView(first.buffer).setUint32(PAGE_BYTES - 4, 0xfeed_beef);
    expect(new DataView(second.buffer).getUint32(PAGE_BYTES - 4)).toBe(0xfeed_beef);
  });

  test('a child maps what it inherits, and atomics work across the two', async () => {
    using memory = SharedMemory.create('culvert-test', PAGE_BYTES);
    const words = new Int32Array(memory.buffer);
    Atomics.store(words, 0, 21);
    const child = await runChild('shared-memory-child.ts', [String(PAGE_BYTES)], [memory.fd]);
    expect(child).toEqual({ seen: 21 });
    expect(Atomics.load(words, 1)).toBe(42);
  });

  test('its address is that of its buffer', () => {
    using memory = SharedMemory.create('culvert-test', PAGE_BYTES);
    expect(addressOf(memory.buffer)).toBe(memory.address);
  });

  test('4 GiB can be reserved, and no more', () => {
    const bytes = 4 * 2 ** 30;
    using memory = SharedMemory.create('culvert-test', bytes);
    const view = new DataView(memory.buffer);
    view.setUint8(bytes - 1, 7);
    expect(view.getUint8(bytes - 1)).toBe(7);
    expect(() => SharedMemory.create('culvert-test', bytes + 1)).toThrow(/EFBIG .*at most 4 GiB/);
  });

  test('a descriptor that cannot be mapped is an error with its call', () => {
    expect(() => SharedMemory.map(-1, PAGE_BYTES)).toThrow(SystemError);
    expect(() => SharedMemory.map(-1, PAGE_BYTES)).toThrow(/^mmap on .* EBADF/);
  });

  test('nobody changes its length, nor that this is so: beyond the end an access kills', () => {
    using memory = SharedMemory.create('culvert-test', PAGE_BYTES);
    const addSeals = 1033;
    for (const bytes of [0, 2 * PAGE_BYTES]) {
      expect([libc.ftruncate(memory.fd, bytes), lastErrno()]).toEqual([-1, Errno.EPERM]);
    }
    expect([libc.fcntl(memory.fd, addSeals, 0), lastErrno()]).toEqual([-1, Errno.EPERM]);
    new DataView(memory.buffer).setUint8(PAGE_BYTES - 1, 7);
  });

  test('nothing stays open', () => {
    const before = descriptorCount('memfd:');
    for (let i = 0; i < 10; i++) {
      using memory = SharedMemory.create('culvert-test', PAGE_BYTES);
      expect(descriptorCount('memfd:')).toBe(before + 1);
      expect(memory.fd).toBeGreaterThan(2);
    }
    expect(() => SharedMemory.create('culvert-test', -1)).toThrow('ftruncate');
    expect(descriptorCount('memfd:')).toBe(before);
  });
});

test('the address of a struct stays when its views are used and garbage is collected', () => {
  const struct = allocateStruct(8);
  struct.view.setUint32(0, 1);
  struct.bytes.fill(9);
  Bun.gc(true);
  expect(addressOf(struct.view.buffer)).toBe(struct.address);
  expect(addressOf(struct.bytes.buffer)).toBe(struct.address);
});

describe('copyBytes', () => {
  const from = Uint8Array.from({ length: 64 }, (_, i) => i);

  test('copies between two buffers, and nothing beside', () => {
    const to = new Uint8Array(new ArrayBuffer(64));
    copyBytes(from, 10, to, 20, 5);
    expect(Array.from(to.subarray(19, 26))).toEqual([0, 10, 11, 12, 13, 14, 0]);
  });

  test('allocates nothing', () => {
    using memory = SharedMemory.create('culvert-test', PAGE_BYTES);
    const to = new Uint8Array(memory.buffer);
    expect(allocatedTypes((call) => copyBytes(from, call & 31, to, call & 1023, 32))).toEqual([]);
    expect(allocatedTypes(() => to.set(from.subarray(0, 32), 0))).not.toEqual([]);
  });
});
