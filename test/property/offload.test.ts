/** Properties of the offload code: cutting and merging undo each other, and lose nothing. */
import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { segment } from '../../src/stack/offload/segment.ts';
import * as tcp from '../../src/stack/wire/tcp.ts';
import { coalesce } from '../support/coalescing.ts';
import { KERNEL_PACKETS } from '../support/kernel-packets.ts';
import { mutatedPacket } from '../support/mutated-packet.ts';
import {
  concat,
  hex,
  pattern,
  type TcpFields,
  tcpPacket,
  udpPacket,
  viewOf,
} from '../support/packet-builder.ts';
import { withPcap } from '../support/pcap.ts';

const { FIN, PSH, ACK, ECE, CWR } = tcp.TcpFlag;

const tcpFields: fc.Arbitrary<TcpFields> = fc
  .record({
    isIpv6: fc.boolean(),
    seq: fc.nat(0xffffffff),
    ack: fc.nat(0xffffffff),
    window: fc.nat(0xffff),
    trafficClass: fc.nat(0xff),
    identification: fc.nat(0xffff),
    isPushed: fc.boolean(),
    hasTimestamps: fc.boolean(),
    length: fc.integer({ min: 1, max: 20_000 }),
  })
  .map(({ isIpv6, isPushed, hasTimestamps, length, ...fields }) => ({
    ...fields,
    ...(isIpv6 ? { source: 'fd00::1', destination: 'fd00::2' } : {}),
    flags: isPushed ? ACK | PSH : ACK,
    options: hasTimestamps ? hex('0101080a 00000001 00000002') : new Uint8Array(0),
    payload: pattern(length, length),
  }));

function cut(packet: Uint8Array, gsoSize: number): Uint8Array[] {
  const arena = concat([packet, new Uint8Array(packet.length + 100)]);
  const packets: Uint8Array[] = [];
  segment(viewOf(arena), 0, packet.length, gsoSize, packet.length, (at, end) =>
    packets.push(arena.slice(at, end)),
  );
  return packets;
}

/** The packet with its TCP checksum as NEEDS_CSUM leaves it, where a superpacket has it so. */
function asDelivered(packet: Uint8Array, isSuperpacket: boolean): Uint8Array {
  if (!isSuperpacket) return packet;
  const bytes = packet.slice();
  const view = viewOf(bytes);
  if (view.getUint8(0) >>> 4 === 4) {
    tcp.emitTcpPartialChecksum(view, 12, 16, 4, 20, bytes.length);
  } else {
    tcp.emitTcpPartialChecksum(view, 8, 24, 16, 40, bytes.length);
  }
  return bytes;
}

test('a superpacket that is cut and merged again is the same bytes', () => {
  fc.assert(
    fc.property(tcpFields, fc.integer({ min: 400, max: 9_000 }), (fields, gsoSize) => {
      const packet = tcpPacket(fields);
      const packets = cut(packet, gsoSize);
      withPcap('cut-and-merged', packets, () => {
        const isSuperpacket = packets.length > 1;
        expect(coalesce(packets)).toEqual([
          { bytes: asDelivered(packet, isSuperpacket), gsoSize: isSuperpacket ? gsoSize : 0 },
        ]);
      });
    }),
    { numRuns: 300 },
  );
});

test('a superpacket of TCP is cut into the segments that a sender without TSO would send', () => {
  fc.assert(
    fc.property(tcpFields, fc.integer({ min: 100, max: 9_000 }), (fields, gsoSize) => {
      const payload = fields.payload!;
      const count = Math.ceil(payload.length / gsoSize);
      const packets = cut(tcpPacket(fields), gsoSize);
      withPcap('cut-segments', packets, () => {
        expect(packets).toEqual(
          Array.from({ length: count }, (_, index) =>
            tcpPacket({
              ...fields,
              seq: (fields.seq! + index * gsoSize) >>> 0,
              identification: (fields.identification! + index) & 0xffff,
              flags: fields.flags! & (index === count - 1 ? 0xff : ~PSH),
              payload: payload.slice(index * gsoSize, (index + 1) * gsoSize),
            }),
          ),
        );
      });
    }),
    { numRuns: 300 },
  );
});

test('a run of datagrams (USO) is cut into those that a sender without it would send', () => {
  const fields = fc.record({
    isIpv6: fc.boolean(),
    hasExtension: fc.boolean(),
    identification: fc.nat(0xffff),
    length: fc.integer({ min: 1, max: 20_000 }),
    gsoSize: fc.integer({ min: 1, max: 9_000 }),
  });
  fc.assert(
    fc.property(fields, ({ isIpv6, hasExtension, identification, length, gsoSize }) => {
      const size = Math.max(gsoSize, Math.ceil(length / 64));
      const payload = pattern(length, length);
      const common = {
        ...(isIpv6 ? { source: 'fd00::1', destination: 'fd00::2' } : {}),
        ...(isIpv6 && hasExtension ? { extensionHeader: 60, extra: hex('1100010400000000') } : {}),
      };
      const packets = cut(udpPacket({ ...common, identification, payload }), size);
      withPcap('cut-datagrams', packets, () => {
        expect(packets).toEqual(
          Array.from({ length: Math.ceil(length / size) }, (_, index) =>
            udpPacket({
              ...common,
              identification: (identification + index) & 0xffff,
              payload: payload.slice(index * size, (index + 1) * size),
            }),
          ),
        );
      });
    }),
    { numRuns: 300 },
  );
});

test('CWR stays on the first packet (RFC 3168 §6.1.2), ECE and the codepoint on all', () => {
  fc.assert(
    fc.property(
      tcpFields,
      fc.integer({ min: 400, max: 9_000 }),
      fc.subarray([FIN, PSH, ECE, CWR]),
      (fields, gsoSize, bits) => {
        const flags = bits.reduce((all, bit) => all | bit, ACK as number);
        const packets = cut(tcpPacket({ ...fields, flags }), gsoSize);
        withPcap('cut-with-ecn', packets, () => {
          const last = packets.length - 1;
          for (const [index, packet] of packets.entries()) {
            const view = viewOf(packet);
            const isIpv4 = packet[0]! >>> 4 === 4;
            let expected = flags;
            if (index !== 0) expected &= ~CWR;
            if (index !== last) expected &= ~(FIN | PSH);
            expect(view.getUint8((isIpv4 ? 20 : 40) + 13)).toBe(expected);
            const trafficClass = isIpv4 ? view.getUint8(1) : (view.getUint16(0) >>> 4) & 0xff;
            expect(trafficClass).toBe(fields.trafficClass!);
          }
        });
      },
    ),
    { numRuns: 300 },
  );
});

test('what is merged and cut again is the packets that came in, in their order', () => {
  /** Runs of two flows, other packets between them, some of them broken. */
  const piece = fc.oneof(
    fc.tuple(fc.constant('run'), fc.nat(3), fc.integer({ min: 1, max: 6 })),
    fc.tuple(fc.constantFrom('udp', 'broken', 'junk'), fc.nat(3), fc.nat(3)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const packets = pieces.flatMap(([kind, flow, count], index): Uint8Array[] => {
        // One after the other they would be a run, with identifications that no cut makes.
        if (kind === 'udp') return [KERNEL_PACKETS[index % 2 === 0 ? 'udpV4' : 'udpV6']];
        if (kind === 'junk') return [pattern(flow * 7, count)];
        const sourcePort = 1000 + flow;
        const addresses = flow < 2 ? {} : { source: 'fd00::1', destination: 'fd00::2' };
        const payload = pattern(kind === 'broken' ? 200 : count * 200, index + 1);
        const run = cut(tcpPacket({ ...addresses, sourcePort, seq: index * 2_000, payload }), 200);
        return kind === 'broken' ? run.map((packet) => packet.with(-1, 0)) : run;
      });
      const merged = coalesce(packets);
      const cutAgain = merged.flatMap(({ bytes, gsoSize }) =>
        gsoSize === 0 ? [bytes] : cut(bytes, gsoSize),
      );
      expect(cutAgain).toEqual(packets);
    }),
    { numRuns: 300 },
  );
});

test('any frames come out one by one in their order, but for a datagram that is repeated', () => {
  const frame = fc.oneof(fc.uint8Array({ maxLength: 120 }), mutatedPacket());
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 6 }), (frames) => {
      let next = 0;
      for (const { bytes, gsoSize } of coalesce(frames)) {
        if (gsoSize === 0) {
          // Padding behind an IP packet is left out, nothing else.
          expect(frames[next]?.slice(0, bytes.length)).toEqual(Uint8Array.from(bytes));
          next += 1;
          continue;
        }
        const headers = bytes[0]! >>> 4 === 4 ? 28 : 48;
        for (let at = headers; at < bytes.length; at += gsoSize) {
          const payload = Uint8Array.from(bytes.subarray(at, at + gsoSize));
          expect(frames[next]?.slice(headers, headers + payload.length)).toEqual(payload);
          next += 1;
        }
      }
      expect(next).toBe(frames.length);
    }),
    { numRuns: 2_000 },
  );
});
