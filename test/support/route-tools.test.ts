import { expect, test } from 'bun:test';
import { parsePing, parseTraceroute } from './route-tools.ts';

// Printed by traceroute 2.1.2 and iputils 20221126 (Debian 12).
const TRACEROUTE = `traceroute to 198.19.0.10 (198.19.0.10), 8 hops max, 60 byte packets
 1  10.88.1.1  0.015 ms
 2  *
 3  10.99.0.2  0.031 ms !H
`;
const PING = `PING 198.19.0.10 (198.19.0.10) 1400(1428) bytes of data.
From 10.99.0.2 icmp_seq=1 Frag needed and DF set (mtu = 1300)
From 10.99.0.2 icmp_seq=2 Frag needed and DF set (mtu = 1300)
1408 bytes from 198.19.0.10: icmp_seq=3 ttl=62 time=0.051 ms

--- 198.19.0.10 ping statistics ---
3 packets transmitted, 1 received, +2 errors, 66.6667% packet loss, time 401ms
`;

test('traceroute: each hop is who answered, or a star', () => {
  expect(parseTraceroute(TRACEROUTE)).toEqual(['10.88.1.1', '*', '10.99.0.2']);
});

test('ping: counts, and each different error once', () => {
  expect(parsePing(PING)).toEqual({
    sent: 3,
    received: 1,
    errors: ['10.99.0.2 Frag needed and DF set (mtu = 1300)'],
  });
});

test('ping that did not run is an error', () => {
  expect(() => parsePing('ping: socket: Operation not permitted')).toThrow('not permitted');
});
