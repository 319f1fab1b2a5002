/** How flows end: reported once, released once. */
import { describe, expect, test } from 'bun:test';
import {
  CLOSE_REASON_COUNT,
  CLOSE_REASON_NAMES,
  CloseReason,
} from '../../../src/stack/close-reason.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { ClosedBy, readFlowRow } from '../../../src/stack/flow-row.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

const closed = (rig: TcpRig): Record<string, number> => {
  const reasons: Record<string, number> = {};
  for (let reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
    const count = rig.counters.closed(reason);
    if (count > 0) reasons[CLOSE_REASON_NAMES[reason]!] = count;
  }
  return reasons;
};

describe('both directions end', () => {
  test('the client first: LAST-ACK, and nothing is left', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('FP. 1:101(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 102');
    rig.send(100);
    rig.close();
    rig.peer.expects('P. 1:101(100) ack 102');
    rig.peer.expects('F. 101:101(0) ack 102');
    rig.peer.sends('. 102:102(0) ack 102 win 512');
    expect(rig.flow.calls.at(-1)).toBe('closed eof by client');
    expect(closed(rig)).toEqual({ eof: 1 });
    rig.expectEmpty();
  });

  test('the upstream first: TIME-WAIT for a minute, and nothing is left', () => {
    const rig = inState('TIME-WAIT');
    expect(rig.flow.calls.at(-1)).toBe('closed eof by upstream');
    expect(rig.counters.get(Counter.TIME_WAIT_NOW)).toBe(1);
    rig.wait(59_900);
    expect(rig.stack.flows.used).toBe(1);
    rig.wait(200);
    rig.expectEmpty();
    expect(rig.counters.get(Counter.TIME_WAIT_NOW)).toBe(0);
    expect(closed(rig)).toEqual({ eof: 1 });
  });

  test('both at once: CLOSING, then TIME-WAIT', () => {
    const rig = inState('CLOSING');
    rig.peer.sends('. 2:2(0) ack 2 win 512');
    expect(rig.state).toBe('TIME-WAIT');
    rig.wait(60_100);
    rig.expectEmpty();
  });

  test('the FIN of the client may acknowledge ours', () => {
    const rig = inState('FIN-WAIT-1');
    rig.peer.sends('F. 1:1(0) ack 2 win 512');
    rig.peer.expects('. 2:2(0) ack 2');
    expect(rig.state).toBe('TIME-WAIT');
  });

  test('a connection in TIME-WAIT holds a row and nothing else', () => {
    const rig = inState('ESTABLISHED');
    rig.send(1000);
    rig.close();
    rig.peer.sends('FP. 1:1001(1000) ack 1002 win 512');
    expect(rig.state).toBe('TIME-WAIT');
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });
});

describe('a reset after both have sent FIN', () => {
  /** The upstream has ended first; of what the client sent it took 100 bytes. */
  function withBacklog(): TcpRig {
    const rig = inState('FIN-WAIT-2');
    rig.flow.appetite = 100;
    rig.peer.sends('FP. 1:1001(1000) ack 2 win 512');
    rig.peer.expects('. 2:2(0) ack 1002');
    expect(rig.state).toBe('TIME-WAIT');
    return rig;
  }

  test('takes nothing from the upstream that was acknowledged', () => {
    const rig = withBacklog();
    rig.peer.sends('R 1002:1002(0)');
    expect(rig.flow.received).toBe(100);
    rig.eat(900);
    expect(rig.flow.received).toBe(1000);
    expect(rig.flow.calls.slice(-2)).toEqual(['fin', 'closed eof by upstream']);
    expect(closed(rig)).toEqual({ eof: 1 });
    rig.wait(60_100);
    rig.expectEmpty();
  });

  test('ends the wait when the upstream has everything', () => {
    const rig = withBacklog();
    rig.eat(900);
    rig.peer.sends('R 1002:1002(0)');
    rig.expectEmpty();
    expect(closed(rig)).toEqual({ eof: 1 });
  });
});

describe('the reason', () => {
  test('is the first that was given; what follows is a consequence', () => {
    const rig = inState('ESTABLISHED');
    rig.owner.reactions.closed = (row, now) => {
      // Looking at the row is allowed; asking for another end changes nothing.
      expect(rig.stack.tcb(row).row).toBe(row);
      expect(now).toBe(rig.now);
    };
    rig.peer.sends('R 1:1(0)');
    expect(closed(rig)).toEqual({ 'client-reset': 1 });
  });

  test('stands in the row while the owner is told', () => {
    const rig = inState('ESTABLISHED');
    let seen: unknown;
    rig.owner.reactions.closed = (row) => {
      seen = readFlowRow(rig.stack.arena.view, rig.stack.rowAt(row));
    };
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.send(50);
    rig.stack.abort(rig.row, CloseReason.UPSTREAM_RESET, ClosedBy.UPSTREAM, rig.now);
    expect(seen).toMatchObject({
      closeReason: 'upstream-reset',
      closedBy: 'upstream',
      bytesUp: 100,
      bytesDown: 50,
      packetsUp: 3,
    });
  });

  test('is counted once for each flow, whatever happens in TIME-WAIT', () => {
    const rig = inState('TIME-WAIT');
    rig.peer.sends('F. 1:1(0) ack 2 win 512');
    rig.peer.read();
    rig.peer.sends('R 2:2(0)');
    expect(closed(rig)).toEqual({ eof: 1 });
    rig.expectEmpty();
  });
});

describe('a reset of the client', () => {
  for (const state of [
    'SYN-RECEIVED',
    'ESTABLISHED',
    'FIN-WAIT-1',
    'FIN-WAIT-2',
    'CLOSE-WAIT',
    'CLOSING',
    'LAST-ACK',
  ] as const) {
    test(`${state}: gives back all that was sent, kept and early`, () => {
      const rig = inState(state);
      rig.flow.appetite = 0;
      if (state === 'ESTABLISHED' || state === 'CLOSE-WAIT') rig.send(10_000);
      const receives = ['ESTABLISHED', 'FIN-WAIT-1', 'FIN-WAIT-2'].includes(state);
      if (receives) {
        rig.peer.sends('P. 1:101(100) ack 1 win 512');
        rig.peer.sends('P. 201:301(100) ack 1 win 512');
      }
      rig.peer.readAll();
      const next = rig.peer.relativeAck(rig.peer.last);
      rig.peer.sends(`R ${next}:${next}(0)`);
      rig.expectEmpty();
      expect(rig.counters.get(Counter.TCP_RESETS_RECEIVED)).toBe(1);
    });
  }
});

test('a thousand flows that end in every way leave nothing behind', () => {
  const rig = new TcpRig({ limits: { timeWait: 3 } });
  rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
  for (let i = 0; i < 1000; i++) {
    const peer = rig.newPeer({ port: 1024 + i });
    rig.connect(peer);
    peer.sends('P. 1:101(100) ack 1 win 512');
    rig.send(3000);
    if (i % 5 === 0) peer.sends('R 101:101(0)');
    if (i % 5 === 1) rig.stack.abort(rig.row, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);
    if (i % 5 === 2) {
      rig.close();
      peer.sends('F. 101:101(0) ack 3002 win 512');
    }
    if (i % 5 === 3) {
      peer.sends('F. 101:101(0) ack 1 win 512');
      rig.close();
      peer.sends('. 102:102(0) ack 3002 win 512');
    }
    if (i % 5 === 4) peer.sends('P. 301:401(100) ack 1 win 512');
    peer.readAll();
    if (i % 50 === 49) rig.wait(2000);
    peer.readAll();
    if (i % 5 === 4) peer.sends('R 101:101(0)');
  }
  rig.wait(61_000);
  rig.frames.length = 0;
  rig.expectEmpty();
  expect(closed(rig)).toEqual({ 'client-reset': 400, killed: 200, eof: 400 });
});
