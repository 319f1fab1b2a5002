/** How many clients may leave something behind, what memory that holds, and what is lost. */
import { describe, expect, test } from 'bun:test';
import type { Epoll } from '../../../../src/ffi/epoll.ts';
import { allocateStruct, SharedMemory } from '../../../../src/ffi/memory.ts';
import { closeFd, receive, send, setNonBlocking, socketPair } from '../../../../src/ffi/sockets.ts';
import { Orphans } from '../../../../src/gateway/dataplane/forward/orphans.ts';
import {
  UpstreamBit,
  UpstreamTable,
} from '../../../../src/gateway/dataplane/forward/upstream-table.ts';
import { Arena } from '../../../../src/stack/arena.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../../../src/stack/counters.ts';
import { ClosedBy, FLOW_ROW_BYTES, FlowField } from '../../../../src/stack/flow-row.ts';
import { OWNER_ROW_BYTES } from '../../../../src/stack/layout.ts';
import {
  LARGE_SLAB_PAYLOAD_BYTES,
  NO_SLAB,
  SlabField,
  SlabPool,
} from '../../../../src/stack/slab-pool.ts';
import type { Stack } from '../../../../src/stack/stack.ts';
import type { Instant } from '../../../../src/stack/time.ts';
import { writeAddress } from '../../../../src/stack/wire/ip-address.ts';

const ROWS = 300;
const SLAB_BYTES = 8 * 1024 * 1024;
const PAGE_BYTES = 4096;
const NOW = 0 as Instant;
const CHUNK_BYTES = 65_536;

/** Rows whose clients have reset; their upstreams read nothing, and their sockets are full. */
class OrphanRig {
  readonly counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  readonly slabs: SlabPool;
  readonly orphans: Orphans;
  readonly #memory: SharedMemory;
  readonly #arena: Arena;
  readonly #table: UpstreamTable;
  /** First slab that waits, and bytes, by row. */
  readonly #waiting: { slabAt: number; bytes: number }[] = [];
  readonly #upstreams: number[] = [];
  readonly #io = allocateStruct(CHUNK_BYTES);

  constructor() {
    const bytes = ROWS * (FLOW_ROW_BYTES + OWNER_ROW_BYTES) + SlabPool.bytes(SLAB_BYTES);
    this.#memory = SharedMemory.create('orphans', (Math.ceil(bytes / PAGE_BYTES) + 1) * PAGE_BYTES);
    this.#arena = new Arena(this.#memory.buffer);
    this.#arena.take(ROWS * FLOW_ROW_BYTES);
    const ownerAt = this.#arena.take(ROWS * OWNER_ROW_BYTES);
    this.slabs = new SlabPool(this.#arena, SLAB_BYTES);
    this.#table = new UpstreamTable({ arena: this.#arena, ownerAt, flows: { capacity: ROWS } });
    const epoll: Pick<Epoll, 'remove'> = { remove: () => 0 };
    const address = this.#memory.address;
    this.orphans = new Orphans(this.#stack(), this.#table, epoll as Epoll, this.counters, address);
  }

  /** A new row's client has left `bytes` bytes in a slab of the class for `slabBytes`. */
  leave(source: string, bytes: number, slabBytes = bytes, bits = 0): void {
    const row = this.#waiting.length;
    const { view } = this.#arena;
    const at = row * FLOW_ROW_BYTES;
    view.setUint8(at + FlowField.FAMILY, writeAddress(source, view, at + FlowField.SOURCE));
    view.setUint8(at + FlowField.CLOSED_BY, ClosedBy.CLIENT);
    const slabAt = this.slabs.take(slabBytes);
    view.setInt32(slabAt + SlabField.NEXT, NO_SLAB, true);
    view.setUint32(slabAt + SlabField.LENGTH, bytes, true);
    view.setUint32(slabAt + SlabField.TAKEN, 0, true);
    this.#waiting.push({ slabAt, bytes });
    const [mine, theirs] = socketPair('stream');
    this.#upstreams.push(theirs);
    for (const fd of [mine, theirs]) setNonBlocking(fd);
    while (send(mine, this.#io.address, CHUNK_BYTES) > 0);
    this.#table.setFd(row, mine);
    this.#table.raise(row, UpstreamBit.OPEN | bits);
    this.orphans.adopt(row, NOW);
    const { slabAt: left } = this.#waiting[row]!;
    if (left !== NO_SLAB) this.slabs.release(left);
    if (this.#table.fd(row) >= 0) closeFd(mine);
  }

  /** All upstreams read what there is. */
  read(): void {
    for (const fd of this.#upstreams) while (receive(fd, this.#io.address, CHUNK_BYTES) > 0);
  }

  [Symbol.dispose](): void {
    this.orphans.endAll();
    for (const fd of this.#upstreams) closeFd(fd);
    this.#memory[Symbol.dispose]();
  }

  #stack(): Stack {
    const double: Pick<
      Stack,
      'arena' | 'slabs' | 'rowAt' | 'waiting' | 'takeWaiting' | 'hasAllText'
    > = {
      arena: this.#arena,
      slabs: this.slabs,
      rowAt: (row) => row * FLOW_ROW_BYTES,
      waiting: (row) => this.#waiting[row]!.bytes,
      takeWaiting: (row) => {
        const { slabAt } = this.#waiting[row]!;
        this.#waiting[row] = { slabAt: NO_SLAB, bytes: 0 };
        return slabAt;
      },
      hasAllText: () => false,
    };
    return double as Stack;
  }
}

const source = (i: number): string => `198.18.${i >> 8}.${i & 0xff}`;

describe('the slabs of what was left', () => {
  test('are bounded by the memory that they hold, not by what lies in them', () => {
    using rig = new OrphanRig();
    for (let i = 0; i < 40; i++) rig.leave(source(i), 10, LARGE_SLAB_PAYLOAD_BYTES);
    expect(rig.orphans.count).toBeGreaterThan(4);
    expect(rig.slabs.bytesUsed).toBeLessThanOrEqual(SLAB_BYTES / 8);
    expect(rig.counters.get(Counter.ORPHAN_BYTES_LOST)).toBeGreaterThan(0);
  });

  test('make room for others when they are sent, and when they are given up', () => {
    using rig = new OrphanRig();
    const leaveMany = (): number => {
      for (let i = 0; i < 40; i++) rig.leave(source(i), 10, LARGE_SLAB_PAYLOAD_BYTES);
      return rig.orphans.count;
    };
    const count = leaveMany();
    rig.read();
    rig.orphans.run(Number.MAX_SAFE_INTEGER as Instant);
    expect([rig.orphans.count, rig.slabs.bytesUsed]).toEqual([0, 0]);
    expect(rig.counters.get(Counter.ORPHAN_BYTES_SENT)).toBe(10 * count);
    expect(leaveMany()).toBe(count);
    rig.orphans.endAll();
    expect([rig.orphans.count, rig.slabs.bytesUsed]).toEqual([0, 0]);
    expect(leaveMany()).toBe(count);
  });
});

describe('a source', () => {
  const SHARE = 32;
  test.each([
    ['an IPv4 address', () => '198.18.0.1', '198.18.0.2'],
    ['an IPv6 /64', (i: number) => `fd00:0:0:1::${i + 1}`, 'fd00:0:0:2::1'],
  ])('has an eighth of the places: %s', (_, address, other) => {
    using rig = new OrphanRig();
    for (let i = 0; i < 2 * SHARE; i++) rig.leave(address(i), 10);
    expect(rig.orphans.count).toBe(SHARE);
    rig.leave(other, 10);
    expect(rig.orphans.count).toBe(SHARE + 1);
  });

  test('is none of the others: together they have all places', () => {
    using rig = new OrphanRig();
    for (let i = 0; i < ROWS; i++) rig.leave(source(i), 10);
    expect(rig.orphans.count).toBe(8 * SHARE);
  });
});

test('a FIN that the kernel still has is no byte that was lost', () => {
  const lost = (bits: number): number => {
    using rig = new OrphanRig();
    rig.leave(source(0), 10, 10, bits);
    rig.orphans.endAll();
    return rig.counters.get(Counter.ORPHAN_BYTES_LOST);
  };
  expect(lost(UpstreamBit.WRITE_SHUT)).toBe(lost(0) - 1);
});
