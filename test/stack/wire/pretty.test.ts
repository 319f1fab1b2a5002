import { expect, test } from 'bun:test';
import { describePacket } from '../../../src/stack/wire/pretty.ts';
import { KERNEL_PACKETS } from '../../support/kernel-packets.ts';
import { hex, icmpPacket, ipPacket, tcpPacket, viewOf } from '../../support/packet-builder.ts';

const describeBytes = (bytes: Uint8Array): string => describePacket(viewOf(bytes), 0, bytes.length);

test.each([
  [
    KERNEL_PACKETS.tcpSynV4,
    '10.9.0.1:54010 > 10.9.0.2:8080: tcp [S], seq 3190665206, win 64240, ' +
      'options [mss 1460,wscale 10,sackOK,TS val 1115432414 ecr 0], length 0',
  ],
  [
    KERNEL_PACKETS.tcpSynV6,
    '[fd00:9::1]:60888 > [fd00:9::2]:8080: tcp [S], seq 1059748005, win 64800, ' +
      'options [mss 1440,wscale 10,sackOK,TS val 2130642690 ecr 0], length 0',
  ],
  [KERNEL_PACKETS.udpV4, '10.9.0.1:35624 > 10.9.0.2:9: udp, length 7'],
  [KERNEL_PACKETS.echoRequestV4, '10.9.0.1 > 10.9.0.2: icmp echo request, code 0, length 16'],
  [KERNEL_PACKETS.echoRequestV6, 'fd00:9::1 > fd00:9::2: icmp6 echo request, code 0, length 16'],
  [icmpPacket({ type: 77 }), '10.0.0.1 > 10.0.0.2: icmp type 77, code 0, length 8'],
  [
    tcpPacket({ flags: 0xff & ~0x06, ack: 9, payload: hex('616263'), window: 1 }),
    '10.0.0.1:40000 > 10.0.0.2:80: tcp [FP.UEW], seq 1, ack 9, win 1, urg 0, length 3',
  ],
  [
    tcpPacket({ ack: 9, options: hex('0101050a 00000010 00000020') }),
    '10.0.0.1:40000 > 10.0.0.2:80: tcp [.], seq 1, ack 9, win 65535, ' +
      'options [sack 16:32], length 0',
  ],
  [tcpPacket({ fragmentWord: 0x2000 }), '10.0.0.1 > 10.0.0.2: fragment, protocol 6'],
  [ipPacket({}, 47, new Uint8Array(4), -1), '10.0.0.1 > 10.0.0.2: protocol 47, length 4'],
  [tcpPacket({ flags: 0 }), '10.0.0.1 > 10.0.0.2: tcp bad-tcp-flags, 20 bytes'],
  [hex('45'), 'ip frame-too-short, 1 bytes'],
  [hex(''), 'empty frame'],
])('the packet of line %# is described', (bytes, line) => {
  expect(describeBytes(bytes)).toBe(line);
});
