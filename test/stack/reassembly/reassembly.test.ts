/** Fragments that become packets, and those that do not. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { fragmentOf, fragmentsOf, piecesOf } from '../../support/fragments.ts';
import { concat, icmpPacket } from '../../support/packet-builder.ts';
import { parseSegment } from '../../support/segment-text.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

const FAMILIES = [4, 6] as const;

/** A segment of the rig's peer with `length` bytes, as a packet. */
const segment = (rig: TcpRig, length: number) =>
  rig.peer.packet(parseSegment(`P. 1:${length + 1}(${length}) ack 1 win 512`));

const deliverAll = (rig: TcpRig, packets: readonly Uint8Array[]) => {
  for (const packet of packets) rig.deliver(packet);
};

/** In an order that is neither first to last nor last to first. */
const shuffled = <T>(items: readonly T[]): T[] => [
  ...items.filter((_, i) => i % 3 === 1),
  ...items.filter((_, i) => i % 3 === 0).reverse(),
  ...items.filter((_, i) => i % 3 === 2),
];

for (const family of FAMILIES) {
  describe(`IPv${family}`, () => {
    const orders = {
      'in order': <T>(items: T[]) => items,
      'in reverse order': <T>(items: T[]) => items.toReversed(),
      'in any order': shuffled,
    };
    for (const [name, order] of Object.entries(orders)) {
      test(`a segment in fragments that come ${name} is received`, () => {
        const rig = inState('ESTABLISHED', { family });
        deliverAll(rig, order(fragmentsOf(segment(rig, 5000), 1200)));
        expect(rig.flow.received).toBe(5000);
        expect(rig.drops).toEqual({});
        expect(rig.counters.get(Counter.PACKETS_REASSEMBLED)).toBe(1);
      });
    }

    test('the longest packet is received', () => {
      const rig = inState('ESTABLISHED', { family });
      deliverAll(rig, fragmentsOf(segment(rig, 65_000), 1480));
      expect(rig.flow.received).toBe(65_000);
    });

    test('fragments of 24 bytes are received too', () => {
      const rig = inState('ESTABLISHED', { family });
      deliverAll(rig, shuffled(fragmentsOf(segment(rig, 2500), 24)));
      expect(rig.flow.received).toBe(2500);
    });

    test('a fragment that comes twice is ignored once', () => {
      const rig = inState('ESTABLISHED', { family });
      const [first, second, third] = fragmentsOf(segment(rig, 3000), 1200);
      deliverAll(rig, [first!, second!, first!, second!, third!]);
      expect(rig.flow.received).toBe(3000);
      expect(rig.drops).toEqual({ duplicate: 2 });
    });

    test('packets with different identifications do not mix', () => {
      const rig = inState('ESTABLISHED', { family });
      const one = fragmentsOf(segment(rig, 2000), 1200, 1);
      const two = fragmentsOf(segment(rig, 2000), 1200, 2);
      deliverAll(rig, [one[0]!, two[1]!]);
      expect(rig.flow.received).toBe(0);
      rig.deliver(one[1]!);
      expect(rig.flow.received).toBe(2000);
    });

    test('an overlap ends the packet (RFC 5722 §4)', () => {
      const rig = inState('ESTABLISHED', { family });
      const packet = segment(rig, 3000);
      const [first, second, third] = fragmentsOf(packet, 1200);
      rig.deliver(first!);
      rig.deliver(fragmentOf(packet, { at: 800, length: 1200, more: true }));
      deliverAll(rig, [second!, third!]);
      expect(rig.flow.received).toBe(0);
      expect(rig.drops).toEqual({ 'fragment-overlap': 2 });
    });

    test('two ends end the packet', () => {
      const rig = inState('ESTABLISHED', { family });
      const packet = segment(rig, 3000);
      rig.deliver(fragmentOf(packet, { at: 1200, length: 16, more: false }));
      rig.deliver(fragmentOf(packet, { at: 1600, length: 16, more: false }));
      expect(rig.drops).toEqual({ 'fragment-overlap': 2 });
    });

    test('bytes behind the end end the packet, whichever comes first', () => {
      for (const isLate of [true, false]) {
        const rig = inState('ESTABLISHED', { family });
        const packet = segment(rig, 3000);
        const end = fragmentOf(packet, { at: 800, length: 16, more: false });
        const behind = fragmentOf(packet, { at: 1600, length: 16, more: true });
        deliverAll(rig, isLate ? [end, behind] : [behind, end]);
        expect(rig.drops).toEqual({ 'fragment-overlap': 2 });
      }
    });

    test('a packet that does not become whole in 30 s never does', () => {
      const rig = inState('ESTABLISHED', { family });
      const [first, second] = fragmentsOf(segment(rig, 2000), 1200);
      rig.deliver(first!);
      rig.wait(30_000);
      rig.deliver(second!);
      expect(rig.flow.received).toBe(0);
      expect(rig.drops).toEqual({ 'fragment-timeout': 1 });
      rig.deliver(first!);
      expect(rig.flow.received).toBe(2000);
    });

    test('one source has 64 packets under way; its oldest gives way', () => {
      const rig = inState('ESTABLISHED', { family });
      const packet = segment(rig, 2000);
      const pairs = Array.from({ length: 65 }, (_, i) => fragmentsOf(packet, 1200, i));
      for (const [first] of pairs) {
        rig.deliver(first!);
        rig.clock.advance(1000);
      }
      expect(rig.drops).toEqual({ 'fragment-limit': 1 });
      rig.deliver(pairs[0]![1]!);
      expect(rig.flow.received).toBe(0);
      rig.deliver(pairs[64]![1]!);
      expect(rig.flow.received).toBe(2000);
    });

    test('in all there are 256; another source takes the place of the oldest', () => {
      const rig = inState('ESTABLISHED', { family });
      for (let i = 0; i < 300; i++) {
        const address = family === 4 ? `198.18.7.${i % 100}` : `fd00:0:0:${i % 100}::1`;
        const other = rig.newPeer({ address });
        const packet = other.packet(parseSegment('P. 1:2001(2000) ack 1 win 9'));
        rig.deliver(fragmentsOf(packet, 1200, i)[0]!);
        rig.clock.advance(1000);
      }
      expect(rig.drops).toEqual({ 'fragment-limit': 300 - 256 });
      deliverAll(rig, fragmentsOf(segment(rig, 2000), 1200));
      expect(rig.flow.received).toBe(2000);
    });

    test('no more than 4 MiB wait', () => {
      const rig = inState('ESTABLISHED', { family });
      const packet = segment(rig, 65_000);
      for (let i = 0; i < 100; i++) {
        const address = family === 4 ? `198.18.7.${i}` : `fd00:0:0:${i}::1`;
        const other = rig.newPeer({ address });
        const large = other.packet(parseSegment('P. 1:65001(65000) ack 1 win 9'));
        deliverAll(rig, fragmentsOf(large, 1480, i).slice(0, -1));
        rig.clock.advance(1000);
      }
      // 65 such packets of 43 fragments and 63 KiB are what fits; one more costs the oldest.
      expect(rig.drops).toEqual({ 'fragment-limit': 35 * 43 });
      deliverAll(rig, fragmentsOf(packet, 1480));
      expect(rig.flow.received).toBe(65_000);
    });

    test('one source has a quarter of the bytes; beyond them it takes from itself alone', () => {
      const rig = inState('ESTABLISHED', { family });
      const [first, ...rest] = fragmentsOf(segment(rig, 5000), 1200);
      rig.deliver(first!);
      const other = rig.newPeer({ address: family === 4 ? '198.18.7.1' : 'fd00:0:0:7::1' });
      const large = other.packet(parseSegment('P. 1:65001(65000) ack 1 win 9'));
      for (let i = 0; i < 100; i++) {
        rig.clock.advance(1000);
        deliverAll(rig, fragmentsOf(large, 1480, i).slice(0, -1));
      }
      // Sixteen of them are a quarter of 4 MiB.
      expect(rig.drops).toEqual({ 'fragment-limit': 84 * 43 });
      deliverAll(rig, rest);
      expect(rig.flow.received).toBe(5000);
    });

    test('a fragment with CE marks the packet, unless its sender knows no ECN (RFC 3168)', () => {
      const rig = inState('ESTABLISHED', { family });
      const packet = segment(rig, 2000);
      const [first, second] = piecesOf(packet, 1200);
      rig.deliver(fragmentOf(packet, first!, 1, 2));
      rig.deliver(fragmentOf(packet, second!, 1, 3));
      expect(rig.flow.received).toBe(2000);
      rig.deliver(fragmentOf(packet, first!, 2, 0));
      rig.deliver(fragmentOf(packet, second!, 2, 3));
      expect(rig.drops).toEqual({ 'bad-fragment': 2 });
    });
  });
}

test('a ping in fragments is answered', () => {
  const rig = inState('ESTABLISHED');
  rig.stack.setLocalAddresses(['198.18.0.80']);
  const ends = { source: '198.18.0.1', destination: '198.18.0.80' };
  const ping = icmpPacket({ ...ends, type: 8, payload: new Uint8Array(3000).fill(9) });
  deliverAll(rig, fragmentsOf(ping, 1480));
  const lengths = rig.frames.map(({ packet }) => packet.length);
  expect(lengths).toEqual([1500, 1500, 20 + ping.length - 20 - 2 * 1480]);
});

test('IPv6: an atomic fragment is a packet of its own (RFC 6946)', () => {
  const rig = inState('ESTABLISHED', { family: 6 });
  const packet = segment(rig, 100);
  rig.deliver(fragmentOf(packet, { at: 0, length: packet.length - 40, more: false }));
  expect(rig.flow.received).toBe(100);
  expect(rig.counters.get(Counter.PACKETS_REASSEMBLED)).toBe(0);
});

test('IPv6: fragments of a fragment are refused', () => {
  const rig = inState('ESTABLISHED', { family: 6 });
  const [inner] = fragmentsOf(segment(rig, 3000), 2000);
  deliverAll(rig, fragmentsOf(inner!, 1200));
  expect(rig.drops).toEqual({ 'bad-fragment': 1 });
});

test('a wrong checksum over the whole shows though each fragment looks right', () => {
  const rig = inState('ESTABLISHED');
  const packet = segment(rig, 3000);
  packet[2000]! ^= 1;
  deliverAll(rig, fragmentsOf(packet, 1200));
  expect(rig.drops).toEqual({ 'bad-tcp-checksum': 1 });
});

describe('IPv6: destination options in front of TCP', () => {
  /** The segment with eight bytes of padding options between its headers. */
  const withOptions = (rig: TcpRig, length: number): Uint8Array<ArrayBuffer> => {
    const packet = segment(rig, length);
    const long = concat([
      packet.slice(0, 40),
      Uint8Array.of(6, 0, 1, 4, 0, 0, 0, 0),
      packet.slice(40),
    ]);
    long[6] = 60;
    new DataView(long.buffer).setUint16(4, long.length - 40);
    return long;
  };

  test('are put together', () => {
    const rig = inState('ESTABLISHED', { family: 6 });
    deliverAll(rig, shuffled(fragmentsOf(withOptions(rig, 3000), 1200)));
    expect(rig.flow.received).toBe(3000);
  });

  for (const length of [8, 16, 24]) {
    test(`a first fragment of ${length} bytes lacks headers (RFC 8200 §4.5, RFC 7112 §5)`, () => {
      const rig = inState('ESTABLISHED', { family: 6 });
      rig.deliver(fragmentOf(withOptions(rig, 3000), { at: 0, length, more: true }));
      expect(rig.drops).toEqual({ 'bad-fragment': 1 });
    });
  }
});
