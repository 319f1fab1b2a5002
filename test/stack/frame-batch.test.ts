/** A device without superpackets behaves as one with them, as far as the stack can see. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Arena } from '../../src/stack/arena.ts';
import { COUNTERS_BYTES, Counter, Counters } from '../../src/stack/counters.ts';
import { FrameBatch } from '../../src/stack/frame-batch.ts';
import type { Instant } from '../../src/stack/time.ts';
import { completeFrame } from '../support/memory-device.ts';
import { allocatedTypes } from '../support/no-alloc.ts';
import { pattern, type TcpFields, tcpPacket, udpPacket } from '../support/packet-builder.ts';

const NOW = 5 as Instant;
const MSS = 1448;
const V6 = { source: 'fd00::1', destination: 'fd00::2' };

interface Taken {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly hasVnetHeader: boolean;
}

function bench() {
  const arena = new Arena(new ArrayBuffer(FrameBatch.BYTES + 512));
  const counters = new Counters(new ArrayBuffer(COUNTERS_BYTES));
  const taken: Taken[] = [];
  const batch = new FrameBatch(arena, counters, (at, length, hasVnetHeader, now) => {
    expect(now).toBe(NOW);
    taken.push({ frame: arena.bytes.slice(at, at + length), hasVnetHeader });
  });
  const push = (packet: Uint8Array): void => {
    arena.bytes.set(packet, batch.nextAt);
    batch.push(packet.length, NOW);
  };
  return { batch, counters, taken, push };
}

const segment = (index: number, fields: TcpFields = {}): Uint8Array =>
  tcpPacket({ seq: 100 + index * MSS, payload: pattern(MSS, index), flags: 0x10, ...fields });

test.each([
  ['IPv4', {}],
  ['IPv6', V6],
])('a run of TCP arrives as the kernel would hand it over: %s', (_name, addresses) => {
  const { batch, counters, taken, push } = bench();
  for (let i = 0; i < 3; i++) push(segment(i, addresses));
  expect(taken).toEqual([]);
  batch.flush(NOW);
  expect(taken.map(({ hasVnetHeader }) => hasVnetHeader)).toEqual([true]);
  // Throws when the header does not describe what is behind it.
  const { packet, gsoSize } = completeFrame(taken[0]!.frame);
  expect(gsoSize).toBe(MSS);
  const payload = Buffer.concat([0, 1, 2].map((i) => pattern(MSS, i)));
  expect(packet).toEqual(tcpPacket({ seq: 100, flags: 0x10, ...addresses, payload }));
  expect(counters.get(Counter.PACKETS_COALESCED)).toBe(3);
});

test.each([
  ['IPv4', {}],
  ['IPv6', V6],
])('so does a run of datagrams: %s', (_name, addresses) => {
  const { batch, taken, push } = bench();
  const sizes = [1000, 1000, 1000, 300];
  for (const [i, size] of sizes.entries())
    push(udpPacket({ ...addresses, payload: pattern(size, i) }));
  // A shorter one is the last of its run.
  expect(taken).toHaveLength(1);
  batch.flush(NOW);
  expect(taken).toHaveLength(1);
  const { packet, gsoSize } = completeFrame(taken[0]!.frame);
  expect(gsoSize).toBe(1000);
  const payload = Buffer.concat(sizes.map((size, i) => pattern(size, i)));
  expect(packet).toEqual(udpPacket({ ...addresses, payload }));
});

test('one packet alone arrives as it is, where it lies, without a header', () => {
  const { batch, taken, push, counters } = bench();
  push(segment(0));
  batch.flush(NOW);
  expect(taken).toEqual([{ frame: Uint8Array.from(segment(0)), hasVnetHeader: false }]);
  expect(counters.get(Counter.PACKETS_COALESCED)).toBe(0);
});

test('there is room for a whole batch of packets, and for one of any length at its end', () => {
  const { batch, push } = bench();
  const hasRoom = (): boolean => batch.hasRoom;
  let count = 0;
  while (hasRoom()) {
    push(segment(count));
    count += 1;
  }
  // Two superpackets of 44 segments.
  expect(count).toBeGreaterThanOrEqual(84);
  batch.flush(NOW);
  expect(hasRoom()).toBe(true);
  push(new Uint8Array(65_535));
  expect(hasRoom()).toBe(true);
  push(new Uint8Array(65_535));
  expect(hasRoom()).toBe(false);
});

test('nothing is lost, added or put in another order, whatever comes', () => {
  const flow = fc.record({
    port: fc.nat(2),
    count: fc.integer({ min: 1, max: 50 }),
    isUdp: fc.boolean(),
  });
  const junk = fc.uint8Array({ minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(fc.array(fc.oneof(flow, junk), { maxLength: 4 }), (parts) => {
      const { batch, taken, push } = bench();
      const payloads: string[] = [];
      for (const part of parts) {
        if (part instanceof Uint8Array) {
          // First bytes of no version of IP.
          const bytes = Uint8Array.from(part);
          bytes[0] = 0;
          push(bytes);
          payloads.push(Buffer.from(bytes).toString('hex'));
          continue;
        }
        for (let i = 0; i < part.count && batch.hasRoom; i++) {
          const payload = pattern(500, payloads.length);
          const common = { sourcePort: 1000 + part.port, payload };
          push(
            part.isUdp ? udpPacket(common) : tcpPacket({ ...common, flags: 0x10, seq: i * 500 }),
          );
          payloads.push(Buffer.from(payload).toString('hex'));
        }
      }
      batch.flush(NOW);
      const arrived = taken.map(({ frame, hasVnetHeader }) => {
        const packet = hasVnetHeader ? completeFrame(frame).packet : frame;
        if (packet[0] === 0) return Buffer.from(packet).toString('hex');
        return Buffer.from(packet.subarray(packet[9] === 17 ? 28 : 40)).toString('hex');
      });
      expect(arrived.join('')).toBe(payloads.join(''));
    }),
    { numRuns: 200 },
  );
});

test('a batch allocates nothing', () => {
  const arena = new Arena(new ArrayBuffer(FrameBatch.BYTES + 512));
  let bytes = 0;
  const batch = new FrameBatch(
    arena,
    new Counters(new ArrayBuffer(COUNTERS_BYTES)),
    (_at, length) => {
      bytes += length;
    },
  );
  const packets = [segment(0), segment(1), udpPacket({ payload: pattern(90) }), segment(2)];
  expect(
    allocatedTypes(() => {
      for (const packet of packets) {
        arena.bytes.set(packet, batch.nextAt);
        batch.push(packet.length, NOW);
      }
      batch.flush(NOW);
    }),
  ).toEqual([]);
  expect(bytes).toBeGreaterThan(0);
});
