/** Captures: every format and link, what begins a flow in them, and bytes that make no sense. */
import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { CaptureError, readCapture } from '../../../src/gateway/author/capture.ts';
import { flowsOfCapture } from '../../../src/gateway/author/captured-flows.ts';
import { icmpPacket, tcpPacket, udpPacket } from '../../support/packet-builder.ts';
import { encodePcap } from '../../support/pcap.ts';

const SYN = 0x02;
const SYN_ACK = 0x12;
/** MSS 1400, NOP, window scale 5. */
const SYN_OPTIONS = Uint8Array.of(2, 4, 0x05, 0x78, 1, 3, 3, 5);

const AT = { source: '10.0.0.5', destination: '192.0.2.1', sourcePort: 1000 };
const syn = tcpPacket({ ...AT, destinationPort: 443, flags: SYN, options: SYN_OPTIONS, ttl: 61 });

const flowsOf = (bytes: Uint8Array) => flowsOfCapture(bytes, 100);
const summaryOf = (bytes: Uint8Array): string[] =>
  flowsOf(bytes).map(
    ({ protocol, source, destination }) =>
      `${protocol} ${source.ip}:${source.port} ${destination.ip}:${destination.port}`,
  );

/** The classic format with another link type, another order of bytes, or nanoseconds. */
function pcap(
  packets: readonly Uint8Array[],
  { linkType = 101, isLittle = true, magic = 0xa1b2c3d4, captured = 65_535 },
): Uint8Array {
  const parts = [words([magic, 0x0002_0004, 0, 0, 65_535, linkType], isLittle)];
  for (const packet of packets) {
    const kept = packet.subarray(0, captured);
    parts.push(words([7, 500_000, kept.length, packet.length], isLittle), kept);
  }
  return Buffer.concat(parts);
}

function words(values: readonly number[], isLittle: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value, isLittle);
  return new Uint8Array(view.buffer);
}

const padded = (bytes: Uint8Array): Uint8Array =>
  Buffer.concat([bytes, new Uint8Array((4 - (bytes.length % 4)) % 4)]);

/** A block of pcapng, its length before and behind. */
function block(type: number, body: Uint8Array, isLittle: boolean): Uint8Array {
  const length = words([body.length + 12], isLittle);
  return Buffer.concat([words([type], isLittle), length, body, length]);
}

/** A section with one interface, whose time counts nanoseconds, and a packet of each kind. */
function pcapng(packets: readonly Uint8Array[], isLittle: boolean): Uint8Array {
  const section = block(0x0a0d0d0a, words([0x1a2b3c4d, 0, 0, 0], isLittle), isLittle);
  const linkType = isLittle ? [101, 0, 0, 0] : [0, 101, 0, 0];
  // if_tsresol (9) of one byte: 10^-9.
  const option = isLittle ? [9, 0, 1, 0, 9, 0, 0, 0] : [0, 9, 0, 1, 9, 0, 0, 0];
  const face = Uint8Array.of(...linkType, 0, 0, 0, 0, ...option);
  const time = 5_000_000_000n;
  const head = (packet: Uint8Array) => [
    ...[0, Number(time >> 32n), Number(time & 0xffff_ffffn), packet.length, packet.length],
  ];
  return Buffer.concat([
    section,
    block(1, face, isLittle),
    ...packets.map((packet) =>
      block(6, Buffer.concat([words(head(packet), isLittle), padded(packet)]), isLittle),
    ),
  ]);
}

describe('what begins a flow', () => {
  test('a SYN is told with its options; a SYN sent again and its answer are no flows', () => {
    const answer = tcpPacket({
      ...{ source: '192.0.2.1', destination: '10.0.0.5', sourcePort: 443 },
      ...{ destinationPort: 1000, flags: SYN_ACK },
    });
    const data = tcpPacket({ ...AT, destinationPort: 443, flags: 0x10 });
    expect(flowsOf(encodePcap([syn, syn, answer, data], [3e6, 4e6, 5e6, 6e6]))).toEqual([
      {
        protocol: 'tcp',
        source: { ip: '10.0.0.5', port: 1000, family: 4 },
        destination: { ip: '192.0.2.1', port: 443, family: 4 },
        syn: { mss: 1400, windowScale: 5, ttl: 61, ecn: false },
        atMs: 3000,
      },
    ]);
  });

  test('a port that is used again is a flow again', () => {
    const again = tcpPacket({ ...AT, destinationPort: 443, flags: SYN, seq: 99 });
    expect(summaryOf(encodePcap([syn, again]))).toHaveLength(2);
  });

  test('a SYN without options has the MSS of its family, and may ask for ECN', () => {
    const v4 = tcpPacket({ ...AT, flags: SYN | 0xc0 });
    const v6 = tcpPacket({ source: 'fd00::1', destination: 'fd00::2', flags: SYN });
    expect(flowsOf(encodePcap([v4, v6])).map(({ syn }) => syn)).toMatchObject([
      { mss: 536, windowScale: 0, ecn: true },
      { mss: 1220, windowScale: 0, ecn: false },
    ]);
  });

  test('of UDP the first datagram and of a ping the first request, answers being of theirs', () => {
    const back = { source: '192.0.2.1', destination: '10.0.0.5' };
    const packets = [
      udpPacket({ ...AT, destinationPort: 53 }),
      udpPacket({ ...AT, destinationPort: 53 }),
      udpPacket({ ...back, sourcePort: 53, destinationPort: 1000 }),
      icmpPacket({ ...AT, type: 8, rest: 0x0007_0001 }),
      icmpPacket({ ...AT, type: 8, rest: 0x0007_0002 }),
      icmpPacket({ ...back, type: 0, rest: 0x0007_0001 }),
      icmpPacket({ source: 'fd00::1', destination: 'fd00::2', type: 128, rest: 0x0009_0001 }),
    ];
    expect(summaryOf(encodePcap(packets))).toEqual([
      'udp 10.0.0.5:1000 192.0.2.1:53',
      'icmp 10.0.0.5:7 192.0.2.1:0',
      'icmp fd00::1:9 fd00::2:0',
    ]);
  });

  test('no more flows are read than wanted', () => {
    const packets = [1, 2, 3].map((seq) => tcpPacket({ ...AT, flags: SYN, seq }));
    expect(flowsOfCapture(encodePcap(packets), 2)).toHaveLength(2);
  });
});

describe('formats', () => {
  const ONE = ['tcp 10.0.0.5:1000 192.0.2.1:443'];

  test.each([true, false])('pcap and pcapng, little endian: %p', (isLittle) => {
    expect(summaryOf(pcap([syn], { isLittle }))).toEqual(ONE);
    expect(summaryOf(pcapng([syn], isLittle))).toEqual(ONE);
  });

  test('time is read in microseconds, nanoseconds, and in what a section says', () => {
    const [us] = flowsOf(pcap([syn], {}));
    const [ns] = flowsOf(pcap([syn], { magic: 0xa1b23c4d }));
    const [ng] = flowsOf(pcapng([syn], true));
    expect([us?.atMs, ns?.atMs, ng?.atMs]).toEqual([7500, 7000.5, 5000]);
  });

  test.each([
    ['Ethernet', 1, [...new Uint8Array(12), 0x08, 0x00]],
    ['Ethernet with two tags', 1, [...new Uint8Array(12), 0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0]],
    ['Linux cooked', 113, [...new Uint8Array(14), 0x08, 0x00]],
    ['Linux cooked 2', 276, [0x08, 0x00, ...new Uint8Array(18)]],
    ['loopback', 0, [2, 0, 0, 0]],
    ['bare IPv4', 228, []],
  ])('link: %s', (_, linkType, header) => {
    const frame = Buffer.concat([Uint8Array.from(header), syn]);
    expect(summaryOf(pcap([frame], { linkType }))).toEqual(ONE);
  });

  test('what a capture cut off behind the headers is not missed', () =>
    expect(
      summaryOf(
        pcap([tcpPacket({ ...AT, flags: SYN, payload: new Uint8Array(500) })], { captured: 60 }),
      ),
    ).toHaveLength(1));

  test('a link without IP, and bytes that are no capture, are refused', () => {
    expect(() => flowsOf(pcap([syn], { linkType: 105 }))).toThrow(CaptureError);
    expect(() => flowsOf(new Uint8Array(100))).toThrow(CaptureError);
    expect(() => flowsOf(new Uint8Array(0))).toThrow(CaptureError);
  });

  test('a file that ends in the middle gives what is whole', () => {
    for (const file of [pcap([syn, syn], {}), pcapng([syn, syn], true)]) {
      expect(summaryOf(file.subarray(0, file.length - 3))).toEqual(ONE);
    }
  });

  test('any bytes behind the head of a capture are read to an end', () => {
    const heads = [pcap([syn], {}), pcapng([syn], true), pcapng([syn], false)];
    fc.assert(
      fc.property(
        fc.constantFrom(...heads),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 20 }),
        (head, changes) => {
          const bytes = Uint8Array.from(head);
          // The magic of the file stays, else nothing is read at all.
          for (const [at, value] of changes) bytes[4 + (at % (bytes.length - 4))] = value;
          try {
            expect([...readCapture(bytes)].length).toBeLessThan(10);
          } catch (error) {
            expect(error).toBeInstanceOf(CaptureError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
