/** Samples of the delivery rate, as the maximum of a BBR flow that they go into shows them. */
import { expect, test } from 'bun:test';
import { BbrState } from '../../../src/stack/tcp/bbr-state.ts';
import {
  ack,
  farRig,
  MSS,
  ROUND_TRIP_MS,
  roundTrip,
  sentPackets,
} from '../../support/sack-traces.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';

function bbrRig() {
  const rig = farRig({ settings: { congestion: 'bbr' } });
  return { rig, bbr: new BbrState(rig.stack.arena.view, rig.tcb) };
}

/** Packets per round trip, of a rate in bytes per second. */
const packetsPerRound = (bytesPerSecond: number): number =>
  Math.round((bytesPerSecond * ROUND_TRIP_MS) / 1000 / MSS);

function send(rig: TcpRig, packets: number): void {
  rig.send(packets * MSS);
  sentPackets(rig);
}

test('what arrived in a round trip is measured over it', () => {
  const { rig, bbr } = bbrRig();
  send(rig, 10);
  roundTrip(rig);
  ack(rig, 10);
  expect(bbr.delivered).toBe(10 * MSS);
  expect(packetsPerRound(bbr.bandwidth)).toBe(10);
});

test('bytes that are SACKed count when they arrive, and not again when acknowledged', () => {
  const { rig, bbr } = bbrRig();
  send(rig, 10);
  roundTrip(rig);
  ack(rig, 2, [4, 10]);
  expect(bbr.delivered).toBe(8 * MSS);
  expect(packetsPerRound(bbr.bandwidth)).toBe(8);
  ack(rig, 10);
  expect(bbr.delivered).toBe(10 * MSS);
});

test('acknowledgments that come together are measured over the time of the sending', () => {
  const { rig, bbr } = bbrRig();
  send(rig, 4);
  rig.clock.advance(60_000);
  send(rig, 4);
  rig.clock.advance(60_000);
  // The first four took 120 ms, the others 60; together they are eight in 120 ms.
  ack(rig, 8);
  expect(bbr.bandwidth).toBeCloseTo((8 * MSS) / 0.12, -1);
});

test('an acknowledgment in the instant of the sending measures nothing', () => {
  const { rig, bbr } = bbrRig();
  send(rig, 10);
  ack(rig, 5);
  expect(bbr.delivered).toBe(5 * MSS);
  expect(bbr.bandwidth).toBe(0);
});

test('what was sent again counts as delivered, and measures nothing', () => {
  const { rig, bbr } = bbrRig();
  send(rig, 10);
  roundTrip(rig);
  ack(rig, 0, [1, 10]);
  const known = bbr.bandwidth;
  expect(packetsPerRound(known)).toBe(9);
  rig.wait(5);
  expect(sentPackets(rig)).toContain(0);
  roundTrip(rig);
  bbr.roundCount += 100;
  ack(rig, 10);
  expect(bbr.delivered).toBe(10 * MSS);
  expect(bbr.bandwidth).toBe(known);
});

test('a flow that had nothing to send does not take that for the bandwidth of the path', () => {
  const { rig, bbr } = bbrRig();
  send(rig, 10);
  roundTrip(rig);
  ack(rig, 10);
  const known = bbr.bandwidth;
  for (let round = 0; round < 20; round++) {
    send(rig, 1);
    roundTrip(rig);
    ack(rig, 11 + round);
    expect(bbr.appLimitedUntil).not.toBe(0);
  }
  expect(bbr.roundCount).toBeGreaterThan(15);
  expect(bbr.bandwidth).toBe(known);
});

test('after a silence the time of silence is not counted', () => {
  const { rig, bbr } = bbrRig();
  send(rig, 2);
  roundTrip(rig);
  ack(rig, 2);
  rig.wait(60_000);
  send(rig, 10);
  rig.wait(ROUND_TRIP_MS);
  ack(rig, 12);
  expect(packetsPerRound(bbr.bandwidth)).toBe(10);
});

test('an owner that waits for room is not what limits the flow', () => {
  const { rig, bbr } = bbrRig();
  rig.send(1000 * MSS);
  sentPackets(rig);
  for (let packet = 2; packet <= 10; packet += 2) {
    rig.wait(packet === 2 ? ROUND_TRIP_MS : 1);
    ack(rig, packet);
    expect(bbr.appLimitedUntil).toBe(0);
  }
});
