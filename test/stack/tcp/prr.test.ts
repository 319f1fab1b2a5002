/** Proportional Rate Reduction: the arithmetic of RFC 6937 §3. */
import { expect, test } from 'bun:test';
import { reduce, startReduction } from '../../../src/stack/tcp/prr.ts';
import { seqAdd } from '../../../src/stack/wire/seq.ts';
import { farRig, MSS } from '../../support/sack-traces.ts';

/** A TCB with `packets` in flight, and a threshold in packets. */
function inRecovery(packets: number, threshold: number) {
  const { tcb } = farRig();
  tcb.sndNxt = seqAdd(tcb.sndUna, packets * MSS);
  tcb.ssthresh = threshold * MSS;
  startReduction(tcb);
  return tcb;
}

/** Packets that may be sent for one more that arrived. */
function answer(tcb: ReturnType<typeof inRecovery>, isSafe = false): number {
  tcb.sackedBytes += MSS;
  reduce(tcb, MSS, isSafe);
  const room = Math.floor((tcb.cwnd - tcb.inFlight) / MSS);
  tcb.prrOut += room * MSS;
  tcb.sndNxt = seqAdd(tcb.sndNxt, room * MSS);
  return room;
}

test('half the window: one packet goes out for every two that arrive', () => {
  const tcb = inRecovery(20, 10);
  const sent = Array.from({ length: 19 }, () => answer(tcb));
  expect(sent.slice(0, 6)).toEqual([1, 0, 0, 1, 0, 1]);
  expect(tcb.inFlight).toBe(10 * MSS);
});

test('seven tenths: as many leave, spread over the round trip', () => {
  const tcb = inRecovery(20, 14);
  const sent = Array.from({ length: 20 }, () => answer(tcb));
  expect(sent.reduce((sum, room) => sum + room)).toBe(14);
  expect(Math.max(...sent)).toBe(1);
});

test('the first packet goes out at once, though nothing may leave yet', () => {
  const tcb = inRecovery(20, 10);
  reduce(tcb, 0, false);
  expect(tcb.cwnd - tcb.inFlight).toBe(MSS);
});

test('below the threshold the flight keeps its size while packets are being lost', () => {
  const tcb = inRecovery(20, 10);
  tcb.lostBytes = 15 * MSS;
  const before = tcb.inFlight;
  answer(tcb);
  answer(tcb);
  expect(tcb.inFlight).toBe(before);
});

test('below the threshold a safe ACK grows the flight by one packet, up to the threshold', () => {
  const tcb = inRecovery(20, 10);
  tcb.lostBytes = 15 * MSS;
  for (let i = 0; i < 12; i++) answer(tcb, true);
  expect(tcb.inFlight).toBe(10 * MSS);
});
