import { expect, test } from 'bun:test';
import {
  DatagramKind,
  DECISION_BYTES_MAX,
  datagramKind,
  epochOf,
  requestIdOf,
} from '../../../src/gateway/messages/decision.ts';
import {
  decodeShown,
  encodeShow,
  encodeShown,
} from '../../../src/gateway/messages/shown-datagrams.ts';

const AT = 8;

test('a wish to see datagrams, and a datagram, which is cut off at 1500 bytes', () => {
  const view = new DataView(new ArrayBuffer(DECISION_BYTES_MAX + AT));
  const length = encodeShow(view, AT, 7, 3);
  expect(datagramKind(view, AT, length)).toBe(DatagramKind.SHOW);
  expect([requestIdOf(view, AT), epochOf(view, AT)]).toEqual([7, 3]);
  const payload = Uint8Array.from({ length: 2000 }, (_, i) => i & 0xff);
  const from = new DataView(payload.buffer);
  for (const bytes of [0, 1, 1500, 1501]) {
    const end = encodeShown(view, AT, 8, 4, from, 10, bytes);
    expect(end).toBeLessThanOrEqual(DECISION_BYTES_MAX);
    expect(datagramKind(view, AT, end)).toBe(DatagramKind.SHOWN);
    expect([requestIdOf(view, AT), epochOf(view, AT)]).toEqual([8, 4]);
    expect(decodeShown(view, AT, end)).toEqual(payload.slice(10, 10 + Math.min(bytes, 1500)));
  }
});
