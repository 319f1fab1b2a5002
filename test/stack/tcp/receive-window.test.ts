/** The window that is offered follows what the owner takes in a round trip. */
import { describe, expect, test } from 'bun:test';
import { TcpRig } from '../../support/tcp-rig.ts';

const ROUND_TRIP_MS = 50;
const KIB = 1024;
const LIMITS = { slabBytes: 32 * 1024 * KIB, slabBytesPerFlow: 8 * 1024 * KIB };

/** ESTABLISHED after a handshake of one round trip. */
function farRig(options = {}): TcpRig {
  const rig = new TcpRig({ limits: LIMITS, ...options });
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  rig.peer.sends(rig.synLine);
  rig.peer.read();
  rig.clock.advance(ROUND_TRIP_MS * 1000);
  rig.peer.sends('. 1:1(0) ack 1 win 512');
  return rig;
}

/** A peer that fills the window each round trip, up to `most` bytes. */
class Uploader {
  readonly rig: TcpRig;
  sent = 1;
  edge: number;

  constructor(rig: TcpRig) {
    this.rig = rig;
    this.edge = 1 + 65_535;
  }

  /** @returns the window after the round trip */
  round(most: number): number {
    const { rig } = this;
    const end = Math.min(this.edge, this.sent + most);
    while (this.sent < end) {
      const length = Math.min(10_000, end - this.sent);
      rig.peer.sends(`. ${this.sent}:${this.sent + length}(${length}) ack 1 win 512`, 1448);
      this.sent += length;
    }
    rig.wait(ROUND_TRIP_MS);
    for (const segment of rig.peer.readAll()) {
      const edge = rig.peer.relativeAck(segment) + (segment.window << 7);
      // Less than a step of the scale: RFC 7323 §2.4.
      expect(edge).toBeGreaterThan(this.edge - 128);
      this.edge = Math.max(this.edge, edge);
    }
    return this.edge - this.sent;
  }
}

describe('growth', () => {
  test('a sender that fills the window each round trip is given 4 MiB in the end', () => {
    const uploader = new Uploader(farRig());
    const windows = Array.from({ length: 12 }, () => uploader.round(Number.POSITIVE_INFINITY));
    expect(windows[0]).toBe(128 * KIB);
    expect(windows.at(-1)).toBe(4096 * KIB);
    expect(windows).toEqual([...windows].sort((a, b) => a - b));
  });

  test('a sender in slow start never meets the window', () => {
    const uploader = new Uploader(farRig());
    for (let window = 14_600; window < 1024 * KIB; window *= 2) {
      expect(uploader.round(window)).toBeGreaterThanOrEqual(2 * window);
    }
  });

  test('a slow sender keeps the first window', () => {
    const uploader = new Uploader(farRig());
    for (let i = 0; i < 50; i++) uploader.round(20 * KIB);
    expect(uploader.rig.tcb.rcvBuffer).toBe(128 * KIB);
  });

  test('an owner that takes nothing is not given more', () => {
    const rig = farRig();
    rig.flow.appetite = 0;
    const uploader = new Uploader(rig);
    for (let i = 0; i < 10; i++) uploader.round(Number.POSITIVE_INFINITY);
    expect(rig.tcb.rcvBuffer).toBe(128 * KIB);
    expect(rig.stack.slabs.bytesUsed).toBeLessThan(200 * KIB);
  });

  test('ends at the budget of the flow', () => {
    const settings = { slabBytesPerFlow: 300 * KIB };
    const uploader = new Uploader(farRig({ settings }));
    const windows = Array.from({ length: 12 }, () => uploader.round(Number.POSITIVE_INFINITY));
    expect(Math.max(...windows)).toBeLessThanOrEqual(300 * KIB);
  });

  test('does not happen while slabs are short', () => {
    const rig = farRig();
    const { slabs } = rig.stack;
    while (!slabs.isLean) slabs.take(60_000);
    const uploader = new Uploader(rig);
    for (let i = 0; i < 5; i++) uploader.round(30 * KIB);
    expect(rig.tcb.rcvBuffer).toBe(128 * KIB);
  });
});
