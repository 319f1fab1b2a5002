/** Timers: zero windows, keep-alives, silence. Retransmission is in retransmit.test.ts. */
import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { FlowField } from '../../../src/stack/flow-row.ts';
import type { TcpRig } from '../../support/tcp-rig.ts';
import { inState, type StateName } from '../../support/tcp-states.ts';

describe('a window that stays closed (RFC 9293 §3.8.6.1)', () => {
  function closedWindow(): TcpRig {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('. 1:1(0) ack 1 win 0');
    rig.send(1000);
    rig.peer.expectsNothing();
    return rig;
  }

  test('is probed with a number from before it, ever more seldom', () => {
    const rig = closedWindow();
    const waits: number[] = [];
    for (let i = 0; i < 10; i++) {
      waits.push(Math.round(rig.waitForFrame() / 100) / 10);
      rig.peer.expects('. 0:0(0) ack 1');
      rig.peer.sends('. 1:1(0) ack 1 win 0');
    }
    expect(waits).toEqual([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60]);
    expect(rig.counters.get(Counter.TCP_ZERO_WINDOW_PROBES)).toBe(10);
  });

  test('is probed for ever while the client answers', () => {
    const rig = closedWindow();
    for (let i = 0; i < 50; i++) {
      rig.waitForFrame();
      rig.peer.expects('. 0:0(0) ack 1');
      rig.peer.sends('. 1:1(0) ack 1 win 0');
    }
    expect(rig.state).toBe('ESTABLISHED');
  });

  test('ends the connection when fifteen probes find no answer', () => {
    const rig = closedWindow();
    for (let i = 0; i < 15; i++) {
      rig.waitForFrame();
      rig.peer.expects('. 0:0(0) ack 1');
    }
    rig.waitForFrame();
    rig.peer.expects('R. 1:1(0) ack 1');
    expect(rig.flow.calls.at(-1)).toBe('closed retransmit-limit by client');
    rig.expectEmpty();
  });

  test('is found open by a probe when the update was lost', () => {
    const rig = closedWindow();
    rig.waitForFrame();
    rig.peer.read();
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.peer.expects('P. 1:1001(1000) ack 1');
    // The waits of the probes are no timeouts of what is sent now.
    rig.peer.sends('. 1:1(0) ack 1001 win 512');
    rig.send(10);
    rig.peer.readAll();
    expect(Math.round(rig.waitForFrame() / 100)).toBe(2);
  });

  test('is not probed when nothing waits to be sent', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('. 1:1(0) ack 1 win 0');
    rig.wait(600_000);
    rig.peer.expectsNothing();
  });
});

describe('keep-alive (RFC 9293 §3.8.4)', () => {
  const settings = { keepaliveUs: 60_000_000 };

  test('asks a silent client after its time, and is satisfied with an answer', () => {
    const rig = inState('ESTABLISHED', { settings });
    expect(Math.round(rig.waitForFrame() / 1000)).toBe(60);
    rig.peer.expects('. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(Math.round(rig.waitForFrame() / 1000)).toBe(60);
    expect(rig.counters.get(Counter.TCP_KEEPALIVES)).toBe(2);
  });

  test('is put off by every segment', () => {
    const rig = inState('ESTABLISHED', { settings });
    rig.wait(50_000);
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.wait(55_000);
    rig.peer.expectsNothing();
    rig.wait(6_000);
    rig.peer.expects('. 0:0(0) ack 1');
  });

  test('gives a client up after nine questions, 15 s apart', () => {
    const rig = inState('ESTABLISHED', { settings });
    for (let i = 0; i < 9; i++) {
      rig.waitForFrame();
      rig.peer.expects('. 0:0(0) ack 1');
    }
    expect(Math.round(rig.waitForFrame() / 1000)).toBe(15);
    rig.peer.expects('R. 1:1(0) ack 1');
    expect(rig.flow.calls.at(-1)).toBe('closed keepalive by client');
    rig.expectEmpty();
  });

  for (const state of ['CLOSE-WAIT', 'FIN-WAIT-2'] as const) {
    test(`${state}: goes on while one direction is open`, () => {
      const rig = inState(state, { settings });
      expect(Math.round(rig.waitForFrame() / 1000)).toBe(60);
      expect(rig.counters.get(Counter.TCP_KEEPALIVES)).toBe(1);
    });
  }

  test('leaves a flow alone that waits for an acknowledgment', () => {
    const rig = inState('ESTABLISHED', { settings: { keepaliveUs: 1_000_000 } });
    rig.send(100);
    rig.wait(5_000);
    expect(rig.counters.get(Counter.TCP_KEEPALIVES)).toBe(0);
    expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBeGreaterThan(0);
  });

  test('does not help a client that acknowledges nothing past the retransmission limit', () => {
    const rig = inState('ESTABLISHED', { settings: { keepaliveUs: 1_500_000 } });
    rig.wait(1_000);
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.send(100);
    rig.wait(3_600_000);
    expect(rig.flow.calls.at(-1)).toBe('closed retransmit-limit by client');
    expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBe(15);
  });

  test('carries no data, and a number from before the window (RFC 9293 §3.8.4)', () => {
    const rig = inState('ESTABLISHED', { settings });
    rig.send(100);
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 101 win 512');
    rig.waitForFrame();
    rig.peer.expects('. 100:100(0) ack 1');
  });

  test('one question without an answer ends nothing (RFC 9293 §3.8.4)', () => {
    const rig = inState('ESTABLISHED', { settings });
    for (let i = 0; i < 8; i++) {
      rig.waitForFrame();
      rig.peer.read();
    }
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    for (let i = 0; i < 8; i++) {
      rig.waitForFrame();
      rig.peer.read();
    }
    expect(rig.state).toBe('ESTABLISHED');
  });

  test('is off when it is 0', () => {
    const rig = inState('ESTABLISHED');
    rig.wait(3_600_000);
    rig.peer.expectsNothing();
  });
});

describe('the user timeout (RFC 9293 §3.9.1.1, RFC 5482)', () => {
  const withUserTimeout = (seconds: number, sack: boolean): TcpRig =>
    inState('ESTABLISHED', { sack, settings: { userTimeoutUs: seconds * 1e6 } });

  for (const sack of [true, false]) {
    const title = sack ? 'with SACK' : 'without SACK';

    test(`${title}: sent data that stays unacknowledged for so long resets the client`, () => {
      const rig = withUserTimeout(30, sack);
      rig.wait(100_000);
      rig.send(1000);
      rig.wait(29_990);
      expect(rig.state).toBe('ESTABLISHED');
      rig.peer.readAll();
      rig.wait(20);
      rig.peer.expects('R. 1001:1001(0) ack 1');
      expect(rig.flow.calls.at(-1)).toBe('closed user-timeout by client');
      rig.expectEmpty();
    });

    test(`${title}: begins again with each new acknowledgment`, () => {
      const rig = withUserTimeout(30, sack);
      rig.send(5000);
      for (const acked of [1001, 2001, 3001]) {
        rig.wait(25_000);
        rig.peer.sends(`. 1:1(0) ack ${acked} win 512`);
      }
      expect(rig.state).toBe('ESTABLISHED');
      rig.wait(30_100);
      expect(rig.flow.calls.at(-1)).toBe('closed user-timeout by client');
    });

    test(`${title}: is not put off by segments that acknowledge nothing new`, () => {
      const rig = withUserTimeout(30, sack);
      rig.send(1000);
      for (let i = 0; i < 5; i++) {
        rig.wait(5_000);
        rig.peer.sends(`. 1:1(0) ack 1 win ${512 + i}`);
      }
      rig.wait(5_100);
      expect(rig.flow.calls.at(-1)).toBe('closed user-timeout by client');
    });

    test(`${title}: may be longer than fifteen timeouts take`, () => {
      const rig = withUserTimeout(7200, sack);
      rig.send(1000);
      rig.wait(7_190_000);
      expect(rig.state).toBe('ESTABLISHED');
      expect(rig.counters.get(Counter.TCP_TIMEOUTS)).toBeGreaterThan(15);
      rig.wait(10_100);
      expect(rig.flow.calls.at(-1)).toBe('closed user-timeout by client');
    });
  }

  test('a FIN waits no longer than data', () => {
    const rig = withUserTimeout(10, true);
    rig.wait(60_000);
    rig.close();
    rig.wait(9_990);
    expect(rig.state).toBe('FIN-WAIT-1');
    rig.wait(20);
    expect(rig.flow.calls.at(-1)).toBe('closed user-timeout by client');
  });

  test('does not count while nothing is in flight', () => {
    const rig = withUserTimeout(10, true);
    rig.wait(3_600_000);
    expect(rig.state).toBe('ESTABLISHED');
  });

  test('does not count while the client keeps its window closed and says so (§3.8.6.1)', () => {
    const rig = withUserTimeout(10, true);
    rig.send(1000);
    for (let i = 0; i < 10; i++) {
      rig.wait(5_000);
      rig.peer.sends('. 1:1(0) ack 1 win 0');
    }
    expect(rig.state).toBe('ESTABLISHED');
    rig.wait(10_100);
    expect(rig.flow.calls.at(-1)).toBe('closed user-timeout by client');
  });

  test('leaves the handshake to its own limit', () => {
    const rig = inState('SYN-RECEIVED', { settings: { userTimeoutUs: 1e6 } });
    rig.wait(20_000);
    expect(rig.state).toBe('SYN-RECEIVED');
  });

  test('can be changed while flows live', () => {
    const rig = inState('ESTABLISHED');
    rig.stack.setUserTimeout(5e6);
    rig.send(1000);
    rig.wait(5_100);
    expect(rig.flow.calls.at(-1)).toBe('closed user-timeout by client');
  });
});

describe('silence', () => {
  function withTimeouts(state: StateName, idleMs: number, halfCloseMs: number): TcpRig {
    const rig = inState('LISTEN');
    const at = rig.stack.rowAt(rig.row);
    rig.stack.arena.view.setUint32(at + FlowField.IDLE_TIMEOUT_MS, idleMs, true);
    rig.stack.arena.view.setUint32(at + FlowField.HALF_CLOSE_TIMEOUT_MS, halfCloseMs, true);
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    if (state === 'CLOSE-WAIT') rig.peer.sends('F. 1:1(0) ack 1 win 512');
    if (state === 'FIN-WAIT-2') {
      rig.close();
      rig.peer.sends('. 1:1(0) ack 2 win 512');
    }
    rig.peer.readAll();
    if (rig.state !== state) throw new Error(`${rig.state}, not ${state}`);
    return rig;
  }

  test('for the idle timeout resets the client', () => {
    const rig = withTimeouts('ESTABLISHED', 120_000, 0);
    rig.wait(119_000);
    rig.peer.expectsNothing();
    rig.wait(1_100);
    rig.peer.expects('R. 1:1(0) ack 1');
    expect(rig.flow.calls.at(-1)).toBe('closed idle by gateway');
    rig.expectEmpty();
  });

  test('is broken by bytes of the client', () => {
    const rig = withTimeouts('ESTABLISHED', 120_000, 0);
    rig.wait(100_000);
    rig.peer.sends('P. 1:2(1) ack 1 win 512');
    rig.wait(100_000);
    expect(rig.state).toBe('ESTABLISHED');
    rig.wait(21_000);
    expect(rig.flow.calls.at(-1)).toBe('closed idle by gateway');
  });

  test('is broken by bytes that a slow owner takes', () => {
    const rig = withTimeouts('ESTABLISHED', 120_000, 0);
    rig.flow.appetite = 0;
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    for (let i = 0; i < 4; i++) {
      rig.wait(100_000);
      rig.eat(10);
    }
    expect(rig.state).toBe('ESTABLISHED');
    rig.wait(121_000);
    expect(rig.flow.calls.at(-1)).toBe('closed idle by gateway');
  });

  test('is broken by bytes to the client', () => {
    const rig = withTimeouts('ESTABLISHED', 120_000, 0);
    rig.wait(100_000);
    rig.send(1);
    rig.peer.sends('. 1:1(0) ack 2 win 512');
    rig.wait(100_000);
    expect(rig.state).toBe('ESTABLISHED');
  });

  test('is broken by bytes that a slow client acknowledges, though all were sent', () => {
    const rig = withTimeouts('ESTABLISHED', 120_000, 5_000);
    rig.send(10_000);
    rig.close();
    for (let acked = 1001; acked < 10_000; acked += 1000) {
      rig.wait(4_000);
      rig.peer.sends(`. 1:1(0) ack ${acked} win 512`);
    }
    expect(rig.state).toBe('FIN-WAIT-1');
  });

  test('is not broken by acknowledgments and keep-alives', () => {
    const rig = withTimeouts('ESTABLISHED', 120_000, 0);
    for (let i = 0; i < 5; i++) {
      rig.wait(25_000);
      rig.peer.sends('. 0:0(0) ack 1 win 512');
    }
    expect(rig.flow.calls.at(-1)).toBe('closed idle by gateway');
  });

  for (const state of ['CLOSE-WAIT', 'FIN-WAIT-2'] as const) {
    test(`${state}: silence for the half-close timeout resets the client, in time`, () => {
      const rig = withTimeouts(state, 120_000, 5_000);
      rig.wait(4_900);
      rig.peer.expectsNothing();
      rig.wait(400);
      expect(rig.peer.read()?.flags).toBe(0x14);
      expect(rig.flow.calls.at(-1)).toBe('closed half-close-timeout by gateway');
      rig.expectEmpty();
    });

    test(`${state}: the half-close timeout begins with the FIN, however long it was silent`, () => {
      const rig = withTimeouts('ESTABLISHED', 120_000, 5_000);
      rig.wait(60_000);
      if (state === 'FIN-WAIT-2') {
        rig.close();
        rig.peer.sends('. 1:1(0) ack 2 win 512');
      } else {
        rig.peer.sends('F. 1:1(0) ack 1 win 512');
      }
      rig.wait(4_900);
      expect(rig.state).toBe(state);
      rig.wait(200);
      expect(rig.flow.calls.at(-1)).toBe('closed half-close-timeout by gateway');
    });

    test(`${state}: the half-close timeout counts when there is no idle timeout`, () => {
      const rig = withTimeouts(state, 0, 5_000);
      rig.wait(6_000);
      expect(rig.flow.calls.at(-1)).toBe('closed half-close-timeout by gateway');
    });
  }

  test('a timeout of 0 never ends', () => {
    const rig = withTimeouts('ESTABLISHED', 0, 0);
    rig.wait(24 * 3_600_000);
    expect(rig.state).toBe('ESTABLISHED');
  });
});
