/** Round-trip time and retransmission timeout, RFC 6298. */
import { expect, test } from 'bun:test';
import { FlowField } from '../../../src/stack/flow-row.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

/** Sends 100 bytes that are acknowledged after `ms`. */
function exchange(rig: TcpRig, ms: number): void {
  rig.send(100);
  rig.peer.readAll();
  rig.clock.advance(ms * 1000);
  rig.peer.sends(`. 1:1(0) ack ${rig.flow.sent + 1} win 512`);
}

test('the first measurement is the handshake: SRTT is R, RTTVAR is R/2 (§2.2)', () => {
  const rig = inState('SYN-RECEIVED');
  expect(rig.tcb.rtoUs).toBe(1_000_000);
  rig.clock.advance(100_000);
  rig.peer.sends('. 1:1(0) ack 1 win 512');
  expect(rig.tcb.srttUs).toBe(100_000);
  expect(rig.tcb.rttvarUs).toBe(50_000);
  expect(rig.tcb.rtoUs).toBe(300_000);
  expect(rig.stack.arena.view.getUint32(rig.tcb.flowAt + FlowField.SRTT_US, true)).toBe(100_000);
});

test('further ones move SRTT by an eighth and RTTVAR by a quarter (§2.3)', () => {
  const rig = inState('SYN-RECEIVED');
  rig.clock.advance(100_000);
  rig.peer.sends('. 1:1(0) ack 1 win 512');
  exchange(rig, 180);
  expect(rig.tcb.rttvarUs).toBe(57_500);
  expect(rig.tcb.srttUs).toBe(110_000);
  expect(rig.tcb.rtoUs).toBe(340_000);
});

test('the timeout is never shorter than 200 ms', () => {
  const rig = inState('ESTABLISHED');
  for (let i = 0; i < 20; i++) exchange(rig, 1);
  expect(rig.tcb.rtoUs).toBe(200_000);
});

test('one segment of a flight is timed, up to the ACK that covers it', () => {
  const rig = inState('ESTABLISHED');
  rig.send(100);
  rig.clock.advance(10_000);
  rig.send(100);
  rig.clock.advance(10_000);
  rig.peer.sends('. 1:1(0) ack 51 win 512');
  const before = rig.tcb.srttUs;
  rig.clock.advance(60_000);
  rig.peer.sends('. 1:1(0) ack 201 win 512');
  expect(rig.tcb.srttUs).toBe(Math.floor(before * 0.875 + 80_000 * 0.125));
});

test('a segment that was sent again is not timed (Karn, §3)', () => {
  const rig = inState('ESTABLISHED');
  const { srttUs } = rig.tcb;
  rig.send(100);
  rig.peer.readAll();
  rig.waitForFrame();
  rig.clock.advance(50_000);
  rig.peer.sends('. 1:1(0) ack 101 win 512');
  expect(rig.tcb.srttUs).toBe(srttUs);
});

test('a SYN-ACK that was sent again is not timed', () => {
  const rig = inState('SYN-RECEIVED');
  rig.waitForFrame();
  rig.peer.readAll();
  rig.peer.sends('. 1:1(0) ack 1 win 512');
  expect(rig.tcb.srttUs).toBe(0);
  const other = inState('SYN-RECEIVED');
  other.clock.advance(500_000);
  other.peer.sends(other.synLine);
  other.peer.readAll();
  other.peer.sends('. 1:1(0) ack 1 win 512');
  expect(other.tcb.srttUs).toBe(0);
});

test('the doubled timeout stays until a new segment is measured (§5, Karn)', () => {
  const rig = inState('ESTABLISHED');
  rig.send(100);
  rig.peer.readAll();
  rig.waitForFrame();
  rig.peer.readAll();
  rig.peer.sends('. 1:1(0) ack 101 win 512');
  // A path that became slower than 200 ms would never be measured otherwise.
  rig.send(100);
  rig.peer.readAll();
  expect(Math.round(rig.waitForFrame())).toBe(400);
  rig.peer.readAll();
  rig.peer.sends('. 1:1(0) ack 201 win 512');
  exchange(rig, 300);
  rig.send(100);
  rig.peer.readAll();
  expect(Math.round(rig.waitForFrame())).toBeLessThan(400);
});

test('an ACK of new data starts the timer again (§5.3)', () => {
  const rig = inState('ESTABLISHED');
  rig.send(100);
  rig.send(100);
  rig.peer.readAll();
  rig.wait(150);
  rig.peer.sends('. 1:1(0) ack 101 win 512');
  rig.wait(150);
  rig.peer.expectsNothing();
  rig.waitForFrame();
  rig.peer.expects('P. 101:201(100) ack 1');
});

test('with everything acknowledged no timer runs (§5.2)', () => {
  const rig = inState('ESTABLISHED');
  exchange(rig, 1);
  rig.wait(120_000);
  rig.peer.expectsNothing();
});
