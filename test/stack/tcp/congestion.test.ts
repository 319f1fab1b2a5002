/** NewReno's arithmetic. When it is asked is in acknowledgment and retransmit. */
import { describe, expect, test } from 'bun:test';
import { FLOW_ROW_BYTES } from '../../../src/stack/flow-row.ts';
import * as congestion from '../../../src/stack/tcp/congestion.ts';
import { TCB_ROW_BYTES, Tcb, TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { asSeq } from '../../../src/stack/wire/seq.ts';
import { inState } from '../../support/tcp-states.ts';

const MSS = 1000;
const NO_LIMIT = 10_000_000;

/** A block that has `flight` bytes in flight. */
function block(flight = 0): Tcb {
  const memory = new DataView(new ArrayBuffer(TCB_ROW_BYTES + FLOW_ROW_BYTES));
  const tcb = new Tcb(memory, 0, TCB_ROW_BYTES).moveTo(0);
  tcb.clear();
  tcb.mss = MSS;
  tcb.sndUna = asSeq(0xffff_ff00);
  tcb.sndNxt = asSeq(0xffff_ff00 + flight);
  congestion.startCongestion(tcb);
  return tcb;
}

test('a connection starts with ten segments (RFC 6928)', () => {
  expect(block().cwnd).toBe(10 * MSS);
});

describe('growth (RFC 5681 §3.1)', () => {
  test('in slow start is what was acknowledged', () => {
    const tcb = block();
    congestion.growWindow(tcb, 10 * MSS, 10 * MSS, NO_LIMIT);
    expect(tcb.cwnd).toBe(20 * MSS);
  });

  test('in congestion avoidance is one segment for a window', () => {
    const tcb = block();
    tcb.ssthresh = 10 * MSS;
    for (let i = 0; i < 9; i++) congestion.growWindow(tcb, MSS, 10 * MSS, NO_LIMIT);
    expect(tcb.cwnd).toBe(10 * MSS);
    congestion.growWindow(tcb, MSS, 10 * MSS, NO_LIMIT);
    expect(tcb.cwnd).toBe(11 * MSS);
  });

  test('ends at the limit of the flow', () => {
    const tcb = block();
    congestion.growWindow(tcb, 10 * MSS, 10 * MSS, 12_345);
    expect(tcb.cwnd).toBe(12_345);
    congestion.growWindow(tcb, 10 * MSS, 10 * MSS, 12_345);
    expect(tcb.cwnd).toBe(12_345);
  });

  test('does not happen while the window is not used', () => {
    const tcb = block();
    congestion.growWindow(tcb, 100, 100, NO_LIMIT);
    expect(tcb.cwnd).toBe(10 * MSS);
  });
});

describe('a loss', () => {
  test('seen by duplicates halves the window and counts the three that left (§3.2)', () => {
    const tcb = block(10 * MSS);
    congestion.enterFastRecovery(tcb);
    expect(tcb.ssthresh).toBe(5 * MSS);
    expect(tcb.cwnd).toBe(8 * MSS);
    congestion.inflate(tcb);
    expect(tcb.cwnd).toBe(9 * MSS);
  });

  test('never brings the threshold below two segments', () => {
    const tcb = block(MSS);
    congestion.enterFastRecovery(tcb);
    expect(tcb.ssthresh).toBe(2 * MSS);
  });

  test('deflates with a partial ACK, by a segment less than it covers (RFC 6582)', () => {
    const tcb = block(10 * MSS);
    congestion.enterFastRecovery(tcb);
    congestion.deflatePartial(tcb, 3 * MSS);
    expect(tcb.cwnd).toBe(6 * MSS);
    congestion.deflatePartial(tcb, 100 * MSS);
    expect(tcb.cwnd).toBe(MSS);
  });

  test('is over without a burst: the window is what is in flight, at most the threshold', () => {
    const tcb = block(10 * MSS);
    congestion.enterFastRecovery(tcb);
    congestion.leaveFastRecovery(tcb);
    expect(tcb.cwnd).toBe(5 * MSS);
    tcb.sndUna = tcb.sndNxt;
    congestion.leaveFastRecovery(tcb);
    expect(tcb.cwnd).toBe(2 * MSS);
  });

  test('seen by a timeout leaves one segment (§3.1)', () => {
    const tcb = block(10 * MSS);
    congestion.collapse(tcb);
    expect(tcb.ssthresh).toBe(5 * MSS);
    expect(tcb.cwnd).toBe(MSS);
  });

  test('seen by further timeouts does not halve the threshold again', () => {
    const tcb = block(10 * MSS);
    congestion.collapse(tcb);
    tcb.raise(TcbFlag.LOSS_RECOVERY);
    tcb.sndUna = asSeq(tcb.sndNxt - MSS);
    congestion.collapse(tcb);
    expect(tcb.ssthresh).toBe(5 * MSS);
  });
});

test('a second loss, after the first was repaired, halves the threshold again', () => {
  const rig = inState('ESTABLISHED');
  for (let loss = 0; loss < 3; loss++) {
    rig.send(20_000);
    rig.peer.readAll();
    const half = rig.tcb.flightSize >>> 1;
    rig.waitForFrame();
    expect(rig.tcb.ssthresh).toBe(Math.max(half, 2 * 1460));
    for (let turn = 0; turn < 20 && (turn === 0 || rig.tcb.flightSize > 0); turn++) {
      rig.peer.readAll();
      rig.peer.sends(`. 1:1(0) ack ${rig.flow.sent + 1} win 512`);
    }
    expect(rig.flow.unsent).toBe(0);
  }
});
