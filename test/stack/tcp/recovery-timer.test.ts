/** One timer for the reordering window, the probe and the timeout: the first of them counts. */
import { expect, test } from 'bun:test';
import { TimerKind } from '../../../src/stack/tcp/tcb.ts';
import { NEVER } from '../../../src/stack/time.ts';
import { ack, farRig, roundTrip, sendFlight } from '../../support/sack-traces.ts';

test('a flight is watched by a probe, with the timeout behind it', () => {
  const rig = farRig();
  sendFlight(rig, 5);
  expect(rig.tcb.timerKind).toBe(TimerKind.PROBE);
  expect(rig.tcb.rtxDeadline - rig.now).toBe(202_000);
  expect(rig.tcb.rtoAt - rig.now).toBe(300_000);
});

test('a probe never comes after the timeout', () => {
  const rig = farRig();
  rig.send(100);
  expect(rig.tcb.rtxDeadline).toBe(rig.tcb.rtoAt);
});

test('an ACK that moves nothing does not put off the timeout (RFC 6298 §5.3)', () => {
  const rig = farRig();
  sendFlight(rig, 5);
  roundTrip(rig);
  const { rtoAt } = rig.tcb;
  ack(rig, 0, [2, 3]);
  expect(rig.tcb.rtoAt).toBe(rtoAt);
  expect(rig.tcb.timerKind).toBe(TimerKind.REORDER);
  ack(rig, 1, [2, 3]);
  expect(rig.tcb.rtoAt).toBeGreaterThan(rtoAt);
});

test('with nothing in flight no timer runs', () => {
  const rig = farRig();
  sendFlight(rig, 5);
  roundTrip(rig);
  ack(rig, 5);
  expect(rig.tcb.rtxDeadline).toBe(NEVER);
  expect(rig.tcb.rtoAt).toBe(NEVER);
});
