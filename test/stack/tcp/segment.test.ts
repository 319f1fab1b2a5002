import { expect, test } from 'bun:test';
import { DropReason } from '../../../src/stack/drop-reason.ts';
import { Segment, timestampClock } from '../../../src/stack/tcp/segment.ts';
import type { Instant } from '../../../src/stack/time.ts';
import { TcpFlag } from '../../../src/stack/wire/tcp.ts';
import { pattern, type TcpFields, tcpPacket, viewOf } from '../../support/packet-builder.ts';
import { encodeOptions } from '../../support/segment-text.ts';

const TCP_AT = 20;

function read(fields: TcpFields): Segment {
  const packet = tcpPacket(fields);
  const segment = new Segment();
  expect(segment.read(viewOf(packet), TCP_AT, packet.length)).toBe(DropReason.NONE);
  return segment;
}

test('reads what the header and its options say', () => {
  const options = encodeOptions(['mss 1400', 'sackOK', 'TS val 7 ecr 9', 'wscale 5']);
  const segment = read({ flags: 0x02, seq: 5, window: 99, options, payload: pattern(3) });
  expect(segment.seq as number).toBe(5);
  expect(segment.window).toBe(99);
  expect(segment.sourcePort).toBe(40_000);
  expect(segment.destinationPort).toBe(80);
  expect(segment.payloadAt).toBe(TCP_AT + 20 + options.length);
  expect(segment.payloadLength).toBe(3);
  expect(segment.options).toMatchObject({ mss: 1400, windowScale: 5, sackPermitted: true });
});

test('options of the segment before do not stay', () => {
  const segment = read({ options: encodeOptions(['mss 1400']) });
  const packet = tcpPacket({});
  segment.read(viewOf(packet), TCP_AT, packet.length);
  expect(segment.options.mss).toBe(0);
});

test('SYN and FIN count in the length, and the end wraps around', () => {
  expect(read({ flags: 0x10, payload: pattern(10) }).length).toBe(10);
  expect(read({ flags: 0x11, payload: pattern(10) }).length).toBe(11);
  expect(read({ flags: 0x02 }).length).toBe(1);
  expect(read({ seq: 0xffff_fffe, flags: 0x11, payload: pattern(4) }).end as number).toBe(3);
});

test('has is true when one of the flags is set', () => {
  const segment = read({ flags: TcpFlag.ACK });
  expect(segment.has(TcpFlag.ACK)).toBe(true);
  expect(segment.has(TcpFlag.ACK | TcpFlag.RST)).toBe(true);
  expect(segment.has(TcpFlag.RST)).toBe(false);
});

test('the front is cut: SYN first, then payload', () => {
  const segment = read({ flags: 0x12, seq: 0xffff_ffff, payload: pattern(10) });
  const { payloadAt } = segment;
  segment.trimFront(4);
  expect(segment.has(TcpFlag.SYN)).toBe(false);
  expect(segment.seq as number).toBe(3);
  expect(segment.payloadAt).toBe(payloadAt + 3);
  expect(segment.payloadLength).toBe(7);
});

test('the back is cut, and the FIN with it', () => {
  const segment = read({ flags: 0x11, payload: pattern(10) });
  segment.trimBack(4);
  expect(segment.payloadLength).toBe(4);
  expect(segment.has(TcpFlag.FIN)).toBe(false);
  expect(segment.length).toBe(4);
});

test('the timestamp clock ticks in milliseconds and wraps around', () => {
  expect(timestampClock(1999 as Instant)).toBe(1);
  expect(timestampClock((2 ** 32 * 1000 + 5000) as Instant)).toBe(5);
});

test('the window of a SYN is not scaled, even when the SYN was trimmed (RFC 7323 §2.2)', () => {
  expect(read({ flags: 0x10, window: 1000 }).windowBytes(3)).toBe(8000);
  const segment = read({ flags: 0x12, window: 1000 });
  segment.trimFront(1);
  expect(segment.has(TcpFlag.SYN)).toBe(false);
  expect(segment.windowBytes(3)).toBe(1000);
});
