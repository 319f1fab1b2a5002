import { describe, expect, test } from 'bun:test';
import { completeChecksum, segment } from '../../../src/stack/offload/segment.ts';
import { TcpFlag } from '../../../src/stack/wire/tcp.ts';
import { KERNEL_VNET_FRAMES } from '../../support/kernel-packets.ts';
import { allocatedTypes } from '../../support/no-alloc.ts';
import {
  concat,
  hex,
  icmpPacket,
  pattern,
  type TcpFields,
  tcpPacket,
  udpPacket,
  viewOf,
} from '../../support/packet-builder.ts';
import { withPcap } from '../../support/pcap.ts';

const { FIN, PSH, ACK, ECE, CWR } = TcpFlag;
const TIMESTAMPS = hex('0101080a 00000001 00000002');
const IPV6 = { source: 'fd00::1', destination: 'fd00::2' };
/** An empty destination options header in front of TCP. */
const EXTENSION = { extensionHeader: 60, extra: hex('0600010400000000') };

/** Cuts a packet, and copies what is handed out. */
function cut(packet: Uint8Array<ArrayBuffer>, gsoSize: number): Uint8Array[] {
  const arena = concat([packet, new Uint8Array(packet.length + 64).fill(0xee)]);
  const packets: Uint8Array[] = [];
  const emit = (at: number, end: number) => packets.push(arena.slice(at, end));
  const count = segment(viewOf(arena), 0, packet.length, gsoSize, packet.length, emit);
  expect(count).toBe(packets.length);
  expect(arena.slice(0, packet.length)).toEqual(packet);
  return packets;
}

/** The packets that `cut` must give, each built on its own. */
function expectedCut(fields: TcpFields, gsoSize: number): Uint8Array[] {
  const { payload = new Uint8Array(0), seq = 1, identification = 0, flags = ACK } = fields;
  const count = Math.max(1, Math.ceil(payload.length / gsoSize));
  return Array.from({ length: count }, (_, index) => {
    const from = index * gsoSize;
    let kept = flags;
    if (index < count - 1) kept &= ~(FIN | PSH);
    if (index > 0) kept &= ~CWR;
    return tcpPacket({
      ...fields,
      seq: (seq + from) >>> 0,
      identification: (identification + index) & 0xffff,
      flags: kept,
      payload: payload.slice(from, from + gsoSize),
    });
  });
}

describe('a TCP superpacket becomes the packets that a sender without TSO would send', () => {
  const base: TcpFields = {
    flags: FIN | PSH | ACK | ECE | CWR,
    seq: 0xffffff00,
    ack: 77,
    identification: 0xfffe,
    trafficClass: 2,
    options: TIMESTAMPS,
  };
  test.each([
    ['IPv4', base],
    ['IPv4 with options', { ...base, extra: hex('01010101') }],
    ['IPv6', { ...base, ...IPV6 }],
    ['IPv6 with an extension header', { ...base, ...IPV6, ...EXTENSION }],
  ])('%s', (name, fields) => {
    for (const length of [0, 1, 1447, 1448, 1449, 2896, 10_001]) {
      const superpacket = { ...fields, payload: pattern(length) };
      const packets = cut(tcpPacket(superpacket), 1448);
      withPcap(`segment ${name} ${length}`, packets, () => {
        expect(packets).toEqual(expectedCut(superpacket, 1448));
      });
    }
  });
});

test('what the checksum fields of the superpacket hold does not matter', () => {
  const fields = { payload: pattern(3000) };
  const packet = tcpPacket(fields);
  viewOf(packet).setUint16(20 + 16, 0xdead);
  viewOf(packet).setUint16(10, 0xdead);
  expect(cut(packet, 1448)).toEqual(expectedCut(fields, 1448));
});

test.each([
  ['IPv4', {}],
  ['IPv6', IPV6],
])('a run of UDP datagrams over %s is cut into datagrams', (_name, addresses) => {
  const payload = pattern(2500);
  const packets = cut(udpPacket({ ...addresses, payload }), 1200);
  const expected = [0, 1, 2].map((index) =>
    udpPacket({
      ...addresses,
      identification: index,
      payload: payload.slice(index * 1200, (index + 1) * 1200),
    }),
  );
  expect(packets).toEqual(expected);
});

test('what is neither TCP nor UDP is not cut', () => {
  expect(cut(icmpPacket({ type: 8, payload: pattern(100) }), 10)).toEqual([]);
});

describe('completeChecksum', () => {
  test.each([
    ['IPv4', KERNEL_VNET_FRAMES.tcpSynV4, 20],
    ['IPv6', KERNEL_VNET_FRAMES.tcpSynV6, 40],
  ])('completes a SYN that the kernel left at NEEDS_CSUM over %s', (_name, frame, start) => {
    const packet = frame.slice(10);
    completeChecksum(viewOf(packet), 0, start, 16, packet.length);
    const view = viewOf(packet);
    const rebuilt = tcpPacket({
      source: start === 20 ? '10.9.0.1' : 'fd00:9::1',
      destination: start === 20 ? '10.9.0.2' : 'fd00:9::2',
      sourcePort: view.getUint16(start),
      destinationPort: 8080,
      seq: view.getUint32(start + 4),
      flags: TcpFlag.SYN,
      window: view.getUint16(start + 14),
      options: packet.slice(start + 20),
    });
    expect(view.getUint16(start + 16)).toBe(viewOf(rebuilt).getUint16(start + 16));
  });

  test('never leaves a UDP checksum at zero, which would mean that there is none', () => {
    const packet = udpPacket({ payload: Uint8Array.of(0, 0) });
    const view = viewOf(packet);
    view.setUint16(28, view.getUint16(26));
    // The pseudo header's sum: 10.0.0.1, 10.0.0.2, 17, length 10.
    view.setUint16(26, 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + 10);
    completeChecksum(view, 0, 20, 6, packet.length);
    expect(view.getUint16(26)).toBe(0xffff);
  });
});

test('cutting allocates nothing', () => {
  const packet = tcpPacket({ payload: pattern(4000), options: TIMESTAMPS });
  const arena = viewOf(concat([packet, new Uint8Array(2000)]));
  let bytes = 0;
  const emit = (at: number, end: number) => {
    bytes += end - at;
  };
  expect(allocatedTypes(() => segment(arena, 0, packet.length, 1448, packet.length, emit))).toEqual(
    [],
  );
  expect(bytes).toBeGreaterThan(0);
});
