import { expect, test } from 'bun:test';
import { adjust, checksum } from '../../../src/stack/wire/checksum.ts';
import { emitEchoReply } from '../../../src/stack/wire/icmp.ts';
import * as icmpv4 from '../../../src/stack/wire/icmpv4.ts';
import * as icmpv6 from '../../../src/stack/wire/icmpv6.ts';
import { matchesPrefix, parseCidr } from '../../../src/stack/wire/ip-address.ts';
import * as ipv4 from '../../../src/stack/wire/ipv4.ts';
import * as ipv6 from '../../../src/stack/wire/ipv6.ts';
import { asSeq, seqAdd, seqInWindow, seqMax } from '../../../src/stack/wire/seq.ts';
import * as tcp from '../../../src/stack/wire/tcp.ts';
import { emitSynOptions, emitTimestamps, TcpOptions } from '../../../src/stack/wire/tcp-options.ts';
import * as udp from '../../../src/stack/wire/udp.ts';
import * as vnet from '../../../src/stack/wire/virtio-net.ts';
import { KERNEL_PACKETS } from '../../support/kernel-packets.ts';
import { allocatedTypes } from '../../support/no-alloc.ts';
import { concat, viewOf } from '../../support/packet-builder.ts';

/** Room for a packet that a test emits, behind the packet that it reads. */
const OUT = 256;
const viewWith = (packet: Uint8Array): DataView =>
  viewOf(concat([packet, new Uint8Array(1024 - packet.length)]));

/** What the calls gave, so that none of them can be left out. */
let seen = 0;

test('the helper sees objects that are kept and objects that are lost at once', () => {
  const kept: object[] = [];
  let last: unknown;
  expect(allocatedTypes((call) => kept.push({ call }))).not.toEqual([]);
  expect(
    allocatedTypes((call) => {
      last = [call];
    }),
  ).not.toEqual([]);
  expect(last).toBeDefined();
});

test('reading and checking an IPv4 TCP segment allocates nothing', () => {
  const view = viewWith(KERNEL_PACKETS.tcpSynV4);
  const options = new TcpOptions();
  const block = parseCidr('10.8.0.0/13')?.bytes ?? new Uint8Array(4);
  expect(
    allocatedTypes(() => {
      seen += ipv4.checkIpv4(view, 0, 60) + tcp.checkTcp(view, 20, 60);
      seen += options.parse(view, 20) + options.mss;
      seen += tcp.tcpChecksumValid(view, 12, 16, 4, 20, 60) ? 1 : 0;
      seen += matchesPrefix(view, 12, block, 13) ? 1 : 0;
      const seq = tcp.sequence(view, 20);
      seen += seqInWindow(seqAdd(seq, 1), seqMax(seq, asSeq(7)), 65_535) ? 1 : 0;
      seen += tcp.window(view, 20) + tcp.flags(view, 20) + ipv4.ecn(view, 0);
    }),
  ).toEqual([]);
});

test('walking and checking an IPv6 TCP segment allocates nothing', () => {
  const view = viewWith(KERNEL_PACKETS.tcpSynV6);
  const walk = new ipv6.ExtensionWalk();
  expect(
    allocatedTypes(() => {
      seen += ipv6.checkIpv6(view, 0, 80) + walk.walk(view, 0, 80) + walk.transportAt;
      seen += tcp.tcpChecksumValid(view, 8, 24, 16, 40, 80) ? 1 : 0;
      seen += ipv6.hopLimit(view, 0) + ipv6.ecn(view, 0);
    }),
  ).toEqual([]);
});

test('emitting TCP frames allocates nothing', () => {
  const view = viewWith(KERNEL_PACKETS.tcpSynV4);
  const at = OUT + vnet.VNET_HEADER_BYTES;
  expect(
    allocatedTypes((call) => {
      const end = at + 72;
      vnet.emitVnetHeader(view, OUT, vnet.VnetFlag.NEEDS_CSUM, 1, 52, 1448, 20, 16);
      ipv4.emitIpv4Header(view, at, 72, 6, 64, 0, 12, 16);
      tcp.emitTcpHeader(view, at + 20, 80, 4000, asSeq(call), asSeq(-call), 32, 0x10, 501);
      seen += emitTimestamps(view, at + 40, call, 7);
      tcp.emitTcpPartialChecksum(view, 12, 16, 4, at + 20, end);
      tcp.emitTcpChecksum(view, 12, 16, 4, at + 20, end);
      seen += vnet.checkVnetHeader(view, OUT, end);
      ipv6.emitIpv6Header(view, at, 60, 6, 64, 0, 12, 28);
      seen += emitSynOptions(view, at + 60, 1460, 7, true, true, call, 7);
      vnet.clearVnetHeader(view, OUT);
    }),
  ).toEqual([]);
});

test('UDP and ICMP allocate nothing', () => {
  const datagram = viewWith(KERNEL_PACKETS.udpV4);
  const echo = viewWith(KERNEL_PACKETS.echoRequestV4);
  const echo6 = viewWith(KERNEL_PACKETS.echoRequestV6);
  expect(
    allocatedTypes((call) => {
      seen += udp.checkUdp(datagram, 20, 35);
      seen += udp.udpChecksumValid(datagram, 12, 16, 4, 20) ? 1 : 0;
      udp.emitUdpHeader(datagram, OUT, 53, 4000, 15);
      udp.emitUdpChecksum(datagram, 12, 16, 4, OUT);
      seen += icmpv4.checkIcmpv4(echo, 20, 36) + icmpv6.checkIcmpv6(echo6, 8, 24, 40, 56);
      emitEchoReply(echo, OUT, 20, 16, icmpv4.Icmpv4Type.ECHO_REPLY);
      emitEchoReply(echo6, OUT, 40, 16, icmpv6.Icmpv6Type.ECHO_REPLY);
      seen += icmpv4.emitErrorV4(echo, OUT, 3, 3, 0, 0, 36);
      seen += icmpv6.emitErrorV6(echo6, 24, 8, OUT, 1, 4, 0, 0, 56);
      seen += checksum(echo, 0, 36) + adjust(call & 0xffff, 1, 2);
    }),
  ).toEqual([]);
  expect(seen).toBeGreaterThan(0);
});
