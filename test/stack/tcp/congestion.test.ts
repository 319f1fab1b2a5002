/** NewReno's arithmetic. When it is asked is in acknowledgment and retransmit. */
import { describe, expect, test } from 'bun:test';
import { FLOW_ROW_BYTES } from '../../../src/stack/flow-row.ts';
import * as congestion from '../../../src/stack/tcp/congestion.ts';
import { TCB_ROW_BYTES, Tcb, TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import type { Instant } from '../../../src/stack/time.ts';
import type { CongestionName } from '../../../src/stack/verdict.ts';
import { asSeq } from '../../../src/stack/wire/seq.ts';
import { type RigOptions, TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

const MSS = 1000;
const NO_LIMIT = 10_000_000;
const NOW = 5_000_000 as Instant;

/** A block that has `flight` bytes in flight. */
function block(flight = 0): Tcb {
  const memory = new DataView(new ArrayBuffer(TCB_ROW_BYTES + FLOW_ROW_BYTES));
  const tcb = new Tcb(memory, 0, TCB_ROW_BYTES).moveTo(0);
  tcb.clear();
  tcb.mss = MSS;
  tcb.sndUna = asSeq(0xffff_ff00);
  tcb.sndNxt = asSeq(0xffff_ff00 + flight);
  congestion.startCongestion(tcb, congestion.CongestionControl.NEW_RENO);
  return tcb;
}

test('a connection starts with ten segments (RFC 6928)', () => {
  expect(block().cwnd).toBe(10 * MSS);
});

describe('growth (RFC 5681 §3.1)', () => {
  test('in slow start is what was acknowledged', () => {
    const tcb = block();
    congestion.growWindow(tcb, 10 * MSS, 10 * MSS, NO_LIMIT, NOW);
    expect(tcb.cwnd).toBe(20 * MSS);
  });

  test('in slow start ends at the threshold, however much one ACK tells of', () => {
    const tcb = block();
    tcb.cwnd = MSS;
    tcb.ssthresh = 5 * MSS;
    congestion.growWindow(tcb, 40 * MSS, MSS, NO_LIMIT, NOW);
    expect(tcb.cwnd).toBe(5 * MSS);
  });

  test('in congestion avoidance is one segment for a window', () => {
    const tcb = block();
    tcb.ssthresh = 10 * MSS;
    for (let i = 0; i < 9; i++) congestion.growWindow(tcb, MSS, 10 * MSS, NO_LIMIT, NOW);
    expect(tcb.cwnd).toBe(10 * MSS);
    congestion.growWindow(tcb, MSS, 10 * MSS, NO_LIMIT, NOW);
    expect(tcb.cwnd).toBe(11 * MSS);
  });

  test('ends at the limit of the flow', () => {
    const tcb = block();
    congestion.growWindow(tcb, 10 * MSS, 10 * MSS, 12_345, NOW);
    expect(tcb.cwnd).toBe(12_345);
    congestion.growWindow(tcb, 10 * MSS, 10 * MSS, 12_345, NOW);
    expect(tcb.cwnd).toBe(12_345);
  });

  test('does not happen while the window is not used', () => {
    const tcb = block();
    congestion.growWindow(tcb, 100, 100, NO_LIMIT, NOW);
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

describe('ECN (RFC 3168 §6.1.2)', () => {
  /** A block whose peer uses ECN, one window after its last cut. */
  function ecnBlock(): Tcb {
    const tcb = block(10 * MSS);
    tcb.raise(TcbFlag.ECN | TcbFlag.ECN_SETUP);
    tcb.cutEnd = asSeq(tcb.sndUna - 1);
    return tcb;
  }

  test('an echo halves the window down to one segment, the threshold down to two', () => {
    const tcb = ecnBlock();
    for (const segments of [5, 2.5, 1.25, 1]) {
      tcb.cutEnd = asSeq(tcb.sndUna - 1);
      congestion.cutOnEcho(tcb);
      expect(tcb.cwnd).toBe(segments * MSS);
      expect(tcb.ssthresh).toBe(Math.max(2, segments) * MSS);
    }
  });

  test('a timeout owes CWR each time, also when the threshold stays', () => {
    for (const collapse of [
      congestion.collapse,
      (tcb: Tcb) => congestion.cutOnTimeout(tcb, !tcb.has(TcbFlag.LOSS_RECOVERY)),
    ]) {
      const tcb = ecnBlock();
      for (let timeouts = 0; timeouts < 2; timeouts++) {
        collapse(tcb);
        expect(tcb.ssthresh).toBe(5 * MSS);
        expect(tcb.has(TcbFlag.CWR_OWED)).toBe(true);
        tcb.lower(TcbFlag.CWR_OWED);
        tcb.raise(TcbFlag.LOSS_RECOVERY);
      }
    }
  });

  test('what undo restores is what the window was after the echo', () => {
    const tcb = ecnBlock();
    tcb.congestion = congestion.CongestionControl.CUBIC;
    congestion.cutOnEcho(tcb);
    const { cwnd, cubicMax } = tcb;
    tcb.priorCwnd = cwnd;
    congestion.cutOnLoss(tcb, 8 * MSS);
    congestion.undoCut(tcb);
    expect([tcb.cwnd, tcb.cubicMax]).toEqual([cwnd, cubicMax]);
  });

  test('a cut that was taken back does not stand for the next loss', () => {
    const tcb = ecnBlock();
    tcb.priorCwnd = tcb.cwnd;
    tcb.priorSsthresh = tcb.ssthresh;
    congestion.cutOnLoss(tcb, 10 * MSS);
    congestion.undoCut(tcb);
    congestion.cutOnLoss(tcb, 8 * MSS);
    expect(tcb.ssthresh).toBe(4 * MSS);
  });

  test('without it a cut owes nothing, and losses cut as often as they come', () => {
    const tcb = block(10 * MSS);
    congestion.cutOnLoss(tcb, 10 * MSS);
    congestion.cutOnLoss(tcb, 8 * MSS);
    expect(tcb.ssthresh).toBe(4 * MSS);
    expect(tcb.has(TcbFlag.CWR_OWED)).toBe(false);
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

describe('CUBIC, NewReno or BBR', () => {
  const controlOf = (options: RigOptions) => inState('ESTABLISHED', options).tcb.congestion;
  const { CUBIC, NEW_RENO, BBR } = congestion.CongestionControl;

  test('CUBIC is the default, the others are settings', () => {
    expect(controlOf({ sack: true })).toBe(CUBIC);
    expect(controlOf({ sack: true, settings: { congestion: 'newreno' } })).toBe(NEW_RENO);
    expect(controlOf({ sack: true, settings: { congestion: 'bbr' } })).toBe(BBR);
  });

  test('another one that is configured is for connections that begin later', () => {
    const rig = inState('ESTABLISHED', { sack: true });
    rig.stack.setTcpDefaults({ congestion: 'bbr', ecn: true });
    rig.send(1000);
    expect(rig.tcb.congestion).toBe(CUBIC);
    const held = inState('LISTEN', { sack: true });
    held.stack.setTcpDefaults({ congestion: 'bbr', ecn: true });
    held.accept();
    held.peer.expects('S. 0:0(0) ack 1');
    held.peer.sends('. 1:1(0) ack 1 win 512');
    expect(held.tcb.congestion).toBe(BBR);
  });

  test('a peer without SACK is served by NewReno', () => {
    expect(controlOf({ sack: false })).toBe(NEW_RENO);
    expect(controlOf({ sack: false, settings: { congestion: 'bbr' } })).toBe(NEW_RENO);
  });

  test('the first cuts to seven tenths, the second to a half', () => {
    for (const [control, share] of [
      [CUBIC, 0.7],
      [NEW_RENO, 0.5],
    ] as const) {
      const tcb = block(10 * MSS);
      tcb.congestion = control;
      congestion.cutOnLoss(tcb, 10 * MSS);
      expect(tcb.ssthresh).toBe(share * 10 * MSS);
      congestion.endRecovery(tcb);
      expect(tcb.cwnd).toBe(tcb.ssthresh);
    }
  });

  test('no cut touches the window of BBR, nor its threshold', () => {
    const tcb = block(10 * MSS);
    tcb.congestion = BBR;
    const before = [tcb.cwnd, tcb.ssthresh];
    congestion.cutOnLoss(tcb, 10 * MSS);
    congestion.endRecovery(tcb);
    congestion.cutOnTimeout(tcb, true);
    congestion.restartAfterIdle(tcb);
    expect([tcb.cwnd, tcb.ssthresh]).toEqual(before);
  });

  test('an undone cut leaves the window that was', () => {
    for (const control of [CUBIC, NEW_RENO]) {
      const tcb = block(10 * MSS);
      tcb.congestion = control;
      [tcb.priorCwnd, tcb.priorSsthresh] = [tcb.cwnd, tcb.ssthresh];
      congestion.cutOnTimeout(tcb, true);
      tcb.cwnd = MSS;
      congestion.undoCut(tcb);
      expect([tcb.cwnd, tcb.ssthresh]).toEqual([tcb.priorCwnd, tcb.priorSsthresh]);
    }
  });
});

describe('after an idle time (RFC 5681 §4.1)', () => {
  /** A connection with a window of a hundred segments and nothing in flight. */
  function quiet() {
    const rig = inState('ESTABLISHED', { sack: true });
    rig.send(1000);
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 1001 win 512');
    rig.tcb.cwnd = 146_000;
    return rig;
  }

  test('longer than the timeout, the window is the initial one, and grows back fast', () => {
    const rig = quiet();
    rig.wait(300);
    rig.send(100_000);
    const sent = rig.peer.readAll().reduce((sum, { payload }) => sum + payload.length, 0);
    expect(sent).toBe(14_600);
    expect(rig.tcb.ssthresh).toBeGreaterThanOrEqual(109_500);
  });

  test('that is shorter, the window stays', () => {
    const rig = quiet();
    rig.wait(100);
    rig.send(60_000);
    const sent = rig.peer.readAll().reduce((sum, { payload }) => sum + payload.length, 0);
    expect(sent).toBe(60_000);
  });
});

describe('the control that the owner chooses for a flow', () => {
  const { CUBIC, NEW_RENO } = congestion.CongestionControl;

  /** A flow whose owner chooses before it accepts. */
  function chosen(name: CongestionName, options: RigOptions): number {
    const rig = inState('LISTEN', options);
    rig.stack.setCongestion(rig.row, name);
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    return rig.tcb.congestion;
  }

  test('is used whatever is configured', () => {
    expect(chosen('newreno', { sack: true })).toBe(NEW_RENO);
    expect(chosen('cubic', { sack: true, settings: { congestion: 'newreno' } })).toBe(CUBIC);
  });

  test('is NewReno for a peer without SACK, whatever is chosen', () => {
    expect(chosen('cubic', { sack: false })).toBe(NEW_RENO);
  });

  test('is used though the client came with a cookie, and has finished the handshake', () => {
    const rig = new TcpRig({ sack: true, timestamps: true, limits: { synCookiesFrom: 0 } });
    rig.peer.sends(rig.synLine);
    rig.peer.read();
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect([rig.state, rig.tcb.congestion]).toEqual(['ESTABLISHED', CUBIC]);
    rig.stack.setCongestion(rig.row, 'newreno');
    rig.accept();
    expect([rig.flow.calls.at(-1), rig.tcb.congestion]).toEqual(['established', NEW_RENO]);
  });

  test('of one flow is not that of the next in the same row', () => {
    const rig = inState('LISTEN', { sack: true });
    const { row } = rig;
    rig.stack.setCongestion(row, 'newreno');
    rig.peer.sends('R 1:1(0) win 0');
    rig.connect(rig.newPeer({ port: 40_001 }));
    expect([rig.row, rig.tcb.congestion]).toEqual([row, CUBIC]);
  });
});
