import { expect, test } from 'bun:test';
import { Counter } from '../../src/stack/counters.ts';
import { RateLimit } from '../../src/stack/rate-limit.ts';
import type { Instant } from '../../src/stack/time.ts';
import { tcpPacket } from '../support/packet-builder.ts';
import { TcpRig } from '../support/tcp-rig.ts';
import { inState } from '../support/tcp-states.ts';

const SECOND = 1_000_000;
const at = (us: number) => us as Instant;
const ACK = 0x10;

test('gives its burst at once, and then what time earns', () => {
  const limit = new RateLimit(10, 3);
  const start = 5 * SECOND;
  expect([0, 1, 2, 3].map((i) => limit.take(at(start + i)))).toEqual([true, true, true, false]);
  expect(limit.take(at(start + 99_000))).toBe(false);
  expect(limit.take(at(start + 101_000))).toBe(true);
  expect(limit.take(at(start + 102_000))).toBe(false);
});

test('never saves more than its burst', () => {
  const limit = new RateLimit(10, 3);
  for (let i = 0; i < 3; i++) limit.take(at(0));
  const later = 3600 * SECOND;
  expect([0, 0, 0, 0].map(() => limit.take(at(later)))).toEqual([true, true, true, false]);
});

test('resets for segments of no flow end after 1,000 at once, and come back with time', () => {
  const rig = new TcpRig();
  const flood = (count: number) => {
    for (let port = 1; port <= count; port++) {
      rig.deliver(tcpPacket({ source: '198.18.0.9', sourcePort: port, flags: ACK }));
    }
  };
  flood(1500);
  expect(rig.frames).toHaveLength(1000);
  expect(rig.drops).toEqual({ 'no-flow': 1000, 'reset-rate-limit': 500 });
  rig.clock.advance(100_000);
  flood(200);
  expect(rig.frames).toHaveLength(1100);
  expect(rig.counters.get(Counter.TCP_RESETS_SENT)).toBe(1100);
});

test('a flow is challenged once in 500 ms, and no other flow can tell (RFC 5961 §7)', () => {
  const rig = inState('ESTABLISHED');
  for (let i = 0; i < 5; i++) rig.peer.sends('S 1:1(0) win 512');
  rig.peer.expects('. 1:1(0) ack 1');
  rig.peer.expectsNothing();
  expect(rig.drops).toEqual({ challenged: 1, 'challenge-rate-limit': 4 });
  const other = rig.newPeer({ port: 40_001 });
  rig.connect(other);
  other.sends('R 5:5(0)');
  other.expects('. 1:1(0) ack 1');
  rig.wait(501);
  rig.peer.sends('S 1:1(0) win 512');
  rig.peer.expects('. 1:1(0) ack 1');
});
