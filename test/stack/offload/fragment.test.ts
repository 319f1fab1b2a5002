import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { fragment } from '../../../src/stack/offload/fragment.ts';
import { fragmentsOf } from '../../support/fragments.ts';
import { allocatedTypes } from '../../support/no-alloc.ts';
import {
  concat,
  hex,
  type IpFields,
  pattern,
  referenceChecksum,
  udpPacket,
  viewOf,
} from '../../support/packet-builder.ts';
import { withPcap } from '../../support/pcap.ts';

const IDENTIFICATION = 0xbeef;
const V4: IpFields = { fragmentWord: 0 };
const V6: IpFields = { source: 'fd00::1', destination: 'fd00::2' };

/** Cuts a packet, and copies what is handed out. */
function cut(packet: Uint8Array, mtu: number): Uint8Array<ArrayBuffer>[] {
  const room = mtu + 8;
  const arena = concat([packet, new Uint8Array(room).fill(0xee)]);
  const packets: Uint8Array<ArrayBuffer>[] = [];
  const emit = (at: number, end: number) => packets.push(arena.slice(at, end));
  const view = viewOf(arena);
  const count = fragment(view, 0, packet.length, mtu, IDENTIFICATION, packet.length, emit);
  expect(count).toBe(packets.length);
  expect(arena.slice(0, packet.length)).toEqual(Uint8Array.from(packet));
  // No byte behind one MTU was used.
  expect(arena.slice(-8)).toEqual(new Uint8Array(8).fill(0xee));
  return packets;
}

describe.each([
  ['IPv4', V4, 20],
  ['IPv6', V6, 48],
])('%s', (_name, addresses, header) => {
  test.each([1480, 576, 104, 8])('fragments carry %i bytes each', (size) => {
    const packet = udpPacket({ ...addresses, trafficClass: 0, payload: pattern(4000) });
    const expected = fragmentsOf(packet, size, IDENTIFICATION);
    for (const spare of [0, 1, 7]) {
      const packets = cut(packet, header + size + spare);
      withPcap('fragment', packets, () => {
        // The last may be a little longer than the others.
        if (spare === 0) expect(packets).toEqual(expected);
        else expect(packets.slice(0, -1)).toEqual(expected.slice(0, packets.length - 1));
      });
    }
  });

  test('a packet that fits is handed out as it is', () => {
    const packet = udpPacket({ ...addresses, payload: pattern(100) });
    expect(cut(packet, packet.length)).toEqual([packet]);
    expect(cut(packet, packet.length - 1)).toHaveLength(2);
  });

  test('nothing is handed out when 8 bytes of payload have no room', () => {
    const packet = udpPacket({ ...addresses, payload: pattern(100) });
    expect(cut(packet, header + 7)).toEqual([]);
    expect(cut(packet, header + 8).length).toBeGreaterThan(10);
  });

  test('the last fragment takes what fits, although it is no multiple of 8', () => {
    const packet = udpPacket({ ...addresses, payload: pattern(2 * 64 + 5 - 8) });
    expect(cut(packet, header + 64 + 5).map(({ length }) => length - header)).toEqual([64, 64 + 5]);
  });
});

describe('IPv4 options', () => {
  const headers = (options: string): string[] =>
    cut(udpPacket({ ...V4, extra: hex(options), payload: pattern(300) }), 200).map((packet) => {
      const length = (packet[0]! & 15) * 4;
      expect(referenceChecksum(packet.slice(0, length))).toBe(0);
      return packet.slice(20, length).toHex();
    });

  test.each([
    // Record route, router alert, NOP, END.
    ['0707040a00000101 94040000 01000000', '94040000'],
    ['94040000 8803abcd', '940400008803abcd'],
    ['01010101', ''],
    // Of three bytes, which are filled up.
    ['01 8303ff', '8303ff00'],
    // A length behind the end, and of nothing.
    ['01 83ff01', '83ff0100'],
    ['83000000', '83000000'],
    ['01010183', '83000000'],
    ['00940400', ''],
  ])('%s: the first fragment has all of them, the others those to be copied', (options, copied) => {
    const all = options.replaceAll(' ', '');
    expect(headers(options)).toEqual([all, copied]);
  });
});

describe('IPv6 extension headers', () => {
  /** One unit each: hop-by-hop, destination options, routing, atomic fragment. */
  const HOP = '0000010400000000';
  const split = (first: number, extra: string) =>
    cut(
      udpPacket({ ...V6, extensionHeader: first, extra: hex(extra), payload: pattern(400) }),
      180,
    ).map((packet) => {
      const view = viewOf(packet);
      expect(view.getUint16(4)).toBe(packet.length - 40);
      let at = 40;
      let kind = packet[6]!;
      while (kind !== 44) {
        kind = packet[at]!;
        at += 8;
      }
      return {
        every: `${packet[6]} ${packet.slice(40, at).toHex()}`,
        once: packet.slice(at, at + 8).toHex(),
        bytes: packet.length - at - 8,
      };
    });

  test('destination options behind nothing are cut', () => {
    const [first, second] = split(60, `11${HOP.slice(2)}`);
    expect(first).toEqual({ every: '44 ', once: '3c0000010000beef', bytes: 128 });
    expect(second!.every).toBe('44 ');
    expect(second!.once).toBe('3c0000810000beef');
  });

  test('hop-by-hop options stand in every fragment', () => {
    const packets = split(0, `11${HOP.slice(2)}`);
    expect(packets.map(({ every }) => every)).toEqual(packets.map(() => `0 2c${HOP.slice(2)}`));
    expect(packets[0]!.once).toBe('110000010000beef');
  });

  test('what stands before a routing header does, too; what stands behind it does not', () => {
    const routing = '3c00010000000000';
    const extra = `3c${HOP.slice(2)} 2b${HOP.slice(2)} ${routing} 11${HOP.slice(2)}`;
    const packets = split(0, extra);
    const every = `0 3c${HOP.slice(2)}2b${HOP.slice(2)}2c${routing.slice(2)}`;
    expect(packets.length).toBeGreaterThan(2);
    expect(packets.map((packet) => packet.every)).toEqual(packets.map(() => every));
    expect(packets[0]!.once).toBe('3c0000010000beef');
  });

  test('an atomic fragment header is replaced', () => {
    const packets = split(60, `2c${HOP.slice(2)} 1100000000000001`);
    expect(packets.map(({ every }) => every)).toEqual(packets.map(() => `60 2c${HOP.slice(2)}`));
    expect(packets[0]!.once).toBe('110000010000beef');
    expect(packets.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(8 + 400);
  });
});

test('the fragments are the packet, whatever its length and the MTU', () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.nat(20_000),
      fc.integer({ min: 68, max: 9000 }),
      (isIpv6, length, mtu) => {
        const packet = udpPacket({ ...(isIpv6 ? V6 : V4), payload: pattern(length) });
        const header = isIpv6 ? 40 : 20;
        const packets = cut(packet, mtu);
        if (packet.length <= mtu) return;
        const bodies = packets.map((part, index) => {
          const view = viewOf(part);
          const word = view.getUint16(isIpv6 ? 42 : 6);
          const before = packets.slice(0, index).map((p) => p.length - header - (isIpv6 ? 8 : 0));
          expect(part.length).toBeLessThanOrEqual(mtu);
          expect(isIpv6 ? word & 0xfff8 : (word & 0x1fff) * 8).toBe(
            before.reduce((sum, bytes) => sum + bytes, 0),
          );
          const hasMore = isIpv6 ? (word & 1) !== 0 : (word & 0x2000) !== 0;
          expect(hasMore).toBe(index < packets.length - 1);
          if (!isIpv6) expect(referenceChecksum(part.slice(0, 20))).toBe(0);
          return part.slice(header + (isIpv6 ? 8 : 0));
        });
        expect(concat(bodies)).toEqual(packet.slice(header));
      },
    ),
    { numRuns: 300 },
  );
});

test('cutting allocates nothing', () => {
  const packets = [V4, V6].map((addresses) => udpPacket({ ...addresses, payload: pattern(4000) }));
  const arena = viewOf(concat([...packets, new Uint8Array(2000)]));
  const [first, second] = packets.map(({ length }) => length) as [number, number];
  let bytes = 0;
  const emit = (at: number, end: number) => {
    bytes += end - at;
  };
  expect(
    allocatedTypes((call) => {
      fragment(arena, 0, first, 1400, call, first + second, emit);
      fragment(arena, first, first + second, 1400, call, first + second, emit);
    }),
  ).toEqual([]);
  expect(bytes).toBeGreaterThan(0);
});
