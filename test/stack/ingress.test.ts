/** The path of a frame into the stack: what is refused on the way, and why. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../src/stack/counters.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../support/memory-device.ts';
import { concat, hex, icmpPacket, ipPacket, tcpPacket } from '../support/packet-builder.ts';
import { parseSegment } from '../support/segment-text.ts';
import { TcpRig } from '../support/tcp-rig.ts';

const V4 = { source: '198.18.0.1', destination: '198.18.0.80' };
const V6 = { source: 'fd00::1', destination: 'fd00::80' };
const SYN = 0x02;

/** Changes bytes of a copy. */
const patched = (packet: Uint8Array, ...changes: readonly (readonly [number, number])[]) => {
  const copy = Uint8Array.from(packet);
  for (const [at, value] of changes) copy[at] = value;
  return copy;
};

const syn = (fields = {}) => tcpPacket({ ...V4, flags: SYN, ...fields });
const syn6 = (fields = {}) => tcpPacket({ ...V6, flags: SYN, ...fields });

/** A packet, and the one reason for which it is dropped. */
const REFUSED: Readonly<Record<string, readonly [Uint8Array, string]>> = {
  'an empty packet': [new Uint8Array(0), 'frame-too-short'],
  'nineteen bytes': [new Uint8Array(19).fill(0x45), 'frame-too-short'],
  'IP version 5': [patched(syn(), [0, 0x55]), 'bad-ip-version'],
  'an IPv4 header of 16 bytes': [patched(syn(), [0, 0x44]), 'bad-ip-header'],
  'a wrong IPv4 checksum': [patched(syn(), [10, 0]), 'bad-ip-checksum'],
  'an IPv4 packet cut short': [syn().slice(0, 30), 'bad-ip-length'],
  'an IPv6 packet cut short': [syn6().slice(0, 50), 'bad-ip-length'],
  'an IPv4 source of 127.0.0.1': [syn({ source: '127.0.0.1' }), 'bad-source-address'],
  'an IPv4 source of all': [syn({ source: '255.255.255.255' }), 'bad-source-address'],
  'an IPv6 source of ::1': [syn6({ source: '::1' }), 'bad-source-address'],
  'an IPv4 multicast': [syn({ destination: '224.0.0.5' }), 'multicast-destination'],
  'an IPv6 multicast': [syn6({ destination: 'ff02::1' }), 'multicast-destination'],
  'an IPv4 fragment that cuts the TCP header': [syn({ fragmentWord: 1 }), 'bad-fragment'],
  'an IPv6 fragment that is not full': [
    syn6({ extensionHeader: 44, extra: hex('06000001 00000001') }),
    'bad-fragment',
  ],
  'a UDP header of 7 bytes over IPv4': [ipPacket(V4, 17, new Uint8Array(7), -1), 'bad-udp-header'],
  'a UDP header of 7 bytes over IPv6': [ipPacket(V6, 17, new Uint8Array(7), -1), 'bad-udp-header'],
  'ICMPv6 over IPv4': [ipPacket(V4, 58, new Uint8Array(8), -1), 'unknown-protocol'],
  'ICMP over IPv6': [ipPacket(V6, 1, new Uint8Array(8), -1), 'unknown-protocol'],
  'an echo reply that nobody waits for': [icmpPacket({ ...V4, type: 0 }), 'icmp-not-for-us'],
  'a TCP header of 16 bytes': [patched(syn(), [32, 0x40]), 'bad-tcp-header'],
  'a TCP segment of 12 bytes': [ipPacket(V4, 6, new Uint8Array(12), -1), 'bad-tcp-header'],
  'no TCP flag at all': [tcpPacket({ ...V4, flags: 0 }), 'bad-tcp-flags'],
  'SYN with FIN': [tcpPacket({ ...V4, flags: 0x03 }), 'bad-tcp-flags'],
  'a wrong TCP checksum over IPv4': [patched(syn(), [36, 0x12]), 'bad-tcp-checksum'],
  'a wrong TCP checksum over IPv6': [patched(syn6(), [56, 0x12]), 'bad-tcp-checksum'],
  'a TCP option that does not end': [syn({ options: hex('02ff0000') }), 'bad-tcp-option'],
};

for (const capabilities of [FULL_OFFLOAD, NO_OFFLOAD]) {
  describe(capabilities.vnetHeader ? 'with a vnet header' : 'without a vnet header', () => {
    for (const [what, [packet, reason]] of Object.entries(REFUSED)) {
      test(`${what} is ${reason}`, () => {
        const rig = new TcpRig({ capabilities });
        rig.deliver(packet);
        expect(rig.drops).toEqual({ [reason]: 1 });
        expect(rig.frames).toEqual([]);
        expect(rig.owner.flows).toEqual([]);
      });
    }

    test('frames and bytes are counted as they come from the device', () => {
      const rig = new TcpRig({ capabilities });
      rig.deliver(syn());
      rig.deliver(syn6());
      expect(rig.counters.get(Counter.DEVICE_FRAMES_IN)).toBe(2);
      const headers = capabilities.vnetHeader ? 20 : 0;
      expect(rig.counters.get(Counter.DEVICE_BYTES_IN)).toBe(40 + 60 + headers);
    });

    test('bytes of the device behind the packet are no part of it', () => {
      const rig = new TcpRig({ capabilities });
      rig.deliver(concat([syn({ payload: new Uint8Array(3) }), new Uint8Array(9).fill(0xee)]));
      rig.deliver(concat([syn6(), new Uint8Array(9).fill(0xee)]));
      expect(rig.drops).toEqual({});
      expect(rig.owner.flows).toHaveLength(2);
    });

    test('IPv4 options and IPv6 extension headers are walked over', () => {
      const rig = new TcpRig({ capabilities });
      rig.deliver(syn({ extra: hex('01010101') }));
      rig.deliver(syn6({ extensionHeader: 60, extra: hex('0600010400000000') }));
      expect(rig.drops).toEqual({});
      expect(rig.owner.flows).toHaveLength(2);
    });
  });
}

describe('the vnet header', () => {
  /** A vnet header of flags, GSO type and size, checksum start and offset. */
  const vnet = (flags: number, type = 0, size = 0, start = 20, offset = 16) =>
    Uint8Array.of(flags, type, 0, 0, size & 0xff, size >>> 8, start, 0, offset, 0);

  test('that is cut short is refused', () => {
    const rig = new TcpRig();
    rig.deliverFrame(new Uint8Array(9));
    expect(rig.drops).toEqual({ 'frame-too-short': 1 });
  });

  test('of a type that was not negotiated is refused', () => {
    const rig = new TcpRig();
    rig.deliverFrame(concat([vnet(0, 9), syn()]));
    expect(rig.drops).toEqual({ 'bad-vnet-header': 1 });
  });

  test('whose checksum lies outside the frame is refused', () => {
    const rig = new TcpRig();
    rig.deliverFrame(concat([vnet(1, 0, 0, 200), syn()]));
    expect(rig.drops).toEqual({ 'bad-vnet-header': 1 });
  });

  for (const [flag, name] of [
    [1, 'NEEDS_CSUM'],
    [2, 'DATA_VALID'],
  ] as const) {
    test(`with ${name} says that the transport checksum is not to be looked at`, () => {
      const rig = new TcpRig();
      rig.deliverFrame(concat([vnet(flag), patched(syn(), [36, 0x12])]));
      expect(rig.owner.flows).toHaveLength(1);
      // The next frame is judged by its own header.
      rig.deliverFrame(concat([vnet(0), patched(syn({ sourcePort: 7 }), [36, 0x12])]));
      expect(rig.drops).toEqual({ 'bad-tcp-checksum': 1 });
    });
  }

  test.each([0, 1, 40, 1500, 0xffff])(
    'the header length that the kernel gives is not looked at: %d',
    (headerLength) => {
      const rig = new TcpRig();
      rig.connect();
      const segment = parseSegment('P. 1:3001(3000) ack 1 win 512');
      const frame = rig.device.incoming(rig.peer.packet(segment), 1460);
      new DataView(frame.buffer).setUint16(2, headerLength, true);
      rig.deliverFrame(frame);
      expect(rig.drops).toEqual({});
      expect(rig.flow.received).toBe(3000);
    },
  );

  test('with a GSO size is a superframe, and counted', () => {
    const rig = new TcpRig();
    rig.connect();
    rig.peer.sends('P. 1:3001(3000) ack 1 win 512', 1460);
    expect(rig.counters.get(Counter.DEVICE_SUPERFRAMES_IN)).toBe(1);
    expect(rig.flow.received).toBe(3000);
  });
});
