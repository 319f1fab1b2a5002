import { describe, expect, test } from 'bun:test';
import {
  clampMss,
  decrementHopLimit,
  rewriteDestination,
  rewriteSource,
} from '../../../src/stack/nat/rewrite.ts';
import { TcpFlag } from '../../../src/stack/wire/tcp.ts';
import { KERNEL_VNET_FRAMES } from '../../support/kernel-packets.ts';
import { lay, type NatFields, natPacket, putAddress } from '../../support/nat-packet.ts';
import { allocatedTypes } from '../../support/no-alloc.ts';
import { concat, hex, pattern, referenceChecksum, viewOf } from '../../support/packet-builder.ts';

const V4: NatFields = {
  protocol: 'tcp',
  source: '10.0.0.1',
  destination: '10.0.0.2',
  sourcePort: 40_000,
  destinationPort: 80,
  payload: pattern(100),
  offload: 'full',
};
const V6: NatFields = { ...V4, source: 'fd00::1', destination: 'fd00::2' };

const layPacket = (fields: NatFields) => lay(fields, natPacket(fields));

describe('what has no port of this name keeps its bytes', () => {
  test.each<[string, NatFields]>([
    ['the source of an echo reply', { ...V4, protocol: 'echo-reply' }],
    ['the source of an ICMPv6 echo reply', { ...V6, protocol: 'echo-reply' }],
    ['the source of GRE', { ...V4, protocol: 'gre' }],
    ['the source of SCTP', { ...V6, protocol: 'sctp' }],
    ['the source of DCCP', { ...V6, protocol: 'dccp' }],
  ])('%s', (_name, fields) => {
    const laid = layPacket(fields);
    const address = fields.source.includes(':') ? 'fd00::9' : '10.0.0.9';
    rewriteSource(laid.view, laid.packet, putAddress(laid, address), 7777);
    expect(laid.bytes()).toEqual(natPacket({ ...fields, source: address }));
    expect(laid.packet.sourcePort).toBe(0);
  });

  test('ICMPv6 inside of IPv4, which nobody checked, is no echo', () => {
    const fields: NatFields = { ...V4, protocol: 'gre', payload: new Uint8Array(0) };
    const laid = layPacket(fields);
    laid.packet.protocol = 58;
    laid.view.setUint8(laid.packet.transportAt, 128);
    const before = laid.bytes().slice(20);
    rewriteSource(laid.view, laid.packet, putAddress(laid, '10.0.0.9'), 7777);
    expect(laid.bytes().slice(20)).toEqual(before);
  });

  test.each([33, 136])('protocol %i with less than a header', (protocol) => {
    const laid = layPacket({ ...V4, protocol: 'gre', payload: new Uint8Array(0) });
    laid.packet.protocol = protocol;
    laid.packet.end = laid.packet.transportAt + 7;
    const before = laid.bytes().slice(20);
    rewriteDestination(laid.view, laid.packet, putAddress(laid, '10.0.0.9'), 7777);
    expect(laid.bytes().slice(20)).toEqual(before);
  });
});

test('an echo reply of zeros gets the one checksum that is right for it', () => {
  const zeros = new Uint8Array(8);
  const fields: NatFields = {
    ...V4,
    protocol: 'echo-reply',
    destinationPort: 4242,
    payload: zeros,
  };
  const laid = layPacket(fields);
  rewriteDestination(laid.view, laid.packet, putAddress(laid, '10.0.0.2'), 0);
  expect(laid.bytes()).toEqual(natPacket({ ...fields, destinationPort: 0 }));
  expect(laid.view.getUint16(laid.packet.transportAt + 2)).toBe(0xffff);
});

test.each([
  ['IPv4', KERNEL_VNET_FRAMES.tcpSynV4, V4, 20],
  ['IPv6', KERNEL_VNET_FRAMES.tcpSynV6, V6, 40],
])(
  'a SYN that the kernel left at NEEDS_CSUM over %s stays at it',
  (_name, frame, fields, start) => {
    const bytes = frame.slice(10);
    const payload = bytes.slice(start + 20);
    const laid = lay({ ...fields, offload: 'partial', payload }, bytes);
    const address = start === 20 ? '192.0.2.77' : '2001:db8::77';
    rewriteSource(laid.view, laid.packet, putAddress(laid, address), 7777);
    const after = laid.bytes();
    const at = start === 20 ? 12 : 8;
    const tail = new Uint8Array(8);
    viewOf(tail).setUint32(0, bytes.length - start);
    tail[7] = 6;
    const pseudo = concat([after.slice(at, start), tail]);
    expect(viewOf(after).getUint16(start + 16)).toBe(~referenceChecksum(pseudo) & 0xffff);
    expect(viewOf(after).getUint16(start)).toBe(7777);
  },
);

describe('decrementHopLimit', () => {
  test.each([
    ['IPv4', V4],
    ['IPv6', V6],
  ])('takes one hop of %s, whatever the limit is', (_name, fields) => {
    for (let ttl = 2; ttl < 256; ttl++) {
      const laid = layPacket({ ...fields, ttl });
      expect(decrementHopLimit(laid.view, laid.packet)).toBe(true);
      expect(laid.bytes()).toEqual(natPacket({ ...fields, ttl: ttl - 1 }));
      expect(laid.packet.hopLimit).toBe(ttl - 1);
    }
  });

  test.each([0, 1])('refuses a packet at %i, which stays as it is', (ttl) => {
    const fields = { ...V4, ttl };
    const laid = layPacket(fields);
    expect(decrementHopLimit(laid.view, laid.packet)).toBe(false);
    expect(laid.bytes()).toEqual(natPacket(fields));
  });
});

describe('clampMss', () => {
  /** A SYN with these options, before and after. */
  function clamp(options: string, mss: number, offload: 'full' | 'partial' = 'full') {
    const fields: NatFields = { ...V6, offload, options: hex(options) };
    const withFlags = (bits: number) => {
      const made = layPacket(fields);
      const at = made.packet.transportAt;
      // SYN for PSH, and the checksum knows.
      made.view.setUint8(at + 13, bits);
      if (offload === 'full') {
        made.view.setUint16(at + 16, made.view.getUint16(at + 16) - (bits - 0x18));
      }
      return made;
    };
    const laid = withFlags(TcpFlag.SYN);
    const hasChanged = clampMss(laid.view, laid.packet, mss);
    const at = laid.packet.transportAt;
    const now = laid.arena.slice(at + 20, at + 20 + fields.options!.length);
    const tail = new Uint8Array(8);
    viewOf(tail).setUint32(0, laid.packet.end - at);
    tail[7] = 6;
    const summed = concat([
      laid.arena.slice(laid.packet.sourceAt, at),
      tail,
      laid.arena.slice(at, laid.packet.end),
    ]);
    return { hasChanged, options: now.toHex(), sum: referenceChecksum(summed) };
  }

  test.each([
    ['lowers what is above', '020405b4', 1200, '020404b0'],
    ['leaves what is below', '02040400', 1200, '02040400'],
    ['leaves what is equal', '020404b0', 1200, '020404b0'],
    ['finds it behind others', '0101080a0000000100000002 020405b4', 1200, undefined],
    ['finds it at an odd place', '01020405b4010101', 1200, '01020404b0010101'],
    ['lowers each of many', '020405b4 02040500', 1200, '020404b0020404b0'],
    ['inserts nothing', '01010101', 1200, '01010101'],
    ['stops at the end of the options', '00020405b4000000', 1200, '00020405b4000000'],
    ['stops at a length of 0', '08000000020405b4', 1200, '08000000020405b4'],
    ['stops at a length of 1', '08010000020405b4', 1200, '08010000020405b4'],
    ['stops at a length behind the end', '08090000020405b4', 1200, '08090000020405b4'],
    ['stops at an option of one byte', '0101010101010102', 1200, '0101010101010102'],
    ['does not take another length for an MSS', '0206ffffffff0101', 1200, '0206ffffffff0101'],
  ])('%s', (_name, before, mss, after) => {
    const expected = after ?? '0101080a0000000100000002020404b0';
    const { hasChanged, options, sum } = clamp(before, mss);
    expect(options).toBe(expected);
    expect(hasChanged).toBe(expected !== before.replaceAll(' ', ''));
    expect(sum).toBe(0);
  });

  test('does not touch a partial checksum, which does not cover the option', () => {
    const { options, sum } = clamp('020405b4', 536, 'partial');
    expect(options).toBe('02040218');
    expect(sum).not.toBe(0);
    const fields: NatFields = { ...V6, offload: 'partial', options: hex('020405b4') };
    const laid = layPacket(fields);
    laid.view.setUint8(laid.packet.transportAt + 13, TcpFlag.SYN | TcpFlag.ACK);
    const before = laid.view.getUint16(laid.packet.transportAt + 16);
    expect(clampMss(laid.view, laid.packet, 536)).toBe(true);
    expect(laid.view.getUint16(laid.packet.transportAt + 16)).toBe(before);
  });

  test('is for a SYN only', () => {
    const fields = { ...V4, options: hex('020405b4') };
    const laid = layPacket(fields);
    expect(clampMss(laid.view, laid.packet, 536)).toBe(false);
    expect(laid.bytes()).toEqual(natPacket(fields));
  });
});

test('rewriting allocates nothing', () => {
  const laid = layPacket({ ...V6, options: hex('020405b4') });
  const echo = layPacket({ ...V4, protocol: 'echo-request' });
  const at = putAddress(laid, 'fd00::7');
  const echoAt = putAddress(echo, '192.0.2.9');
  laid.view.setUint8(laid.packet.transportAt + 13, TcpFlag.SYN);
  expect(
    allocatedTypes((call) => {
      rewriteSource(laid.view, laid.packet, at, call & 0xffff);
      rewriteDestination(laid.view, laid.packet, at, call & 0xfff);
      rewriteSource(echo.view, echo.packet, echoAt, call & 0xffff);
      laid.packet.hopLimit = 64;
      decrementHopLimit(laid.view, laid.packet);
      clampMss(laid.view, laid.packet, 1400 - (call & 0xff));
    }),
  ).toEqual([]);
});
