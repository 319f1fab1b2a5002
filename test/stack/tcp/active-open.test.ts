/** The active OPEN: the SYN, sending it again, giving it up, and what is left of it. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { ClosedBy } from '../../../src/stack/flow-row.ts';
import { NotOpened } from '../../../src/stack/tcp/active-open.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

/** Timers run on a wheel of 4 ms. */
const TICK_MS = 4;

for (const family of [4, 6] as const) {
  const mss = family === 4 ? 1460 : 1440;
  const syn = `S 0:0(0) win 65535 <mss ${mss},sackOK,TS val * ecr 0,wscale 7>`;

  describe(`IPv${family}: SYN`, () => {
    test('carries all options that we know, and no ACK', () => {
      const rig = new TcpRig({ family });
      expect(rig.dial()).toBe(0);
      expect(rig.peer.expects(syn).ack).toBe(0);
      expect(rig.state).toBe('SYN-SENT');
      expect(rig.counters.get(Counter.FLOWS_NOW)).toBe(1);
    });

    test('is sent again after 1, 3, 7 s and so on, the same each time (RFC 6298)', () => {
      const rig = inState('SYN-SENT', { family });
      const { seq } = rig.peer.last;
      for (const wait of [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000]) {
        expect(Math.abs(rig.waitForFrame() - wait)).toBeLessThanOrEqual(TICK_MS);
        expect(rig.peer.expects(syn).seq).toBe(seq);
      }
      expect(rig.counters.get(Counter.TCP_RETRANSMITS)).toBe(7);
    });

    test('is given up after three minutes without an answer (RFC 9293 §3.8.3)', () => {
      const rig = inState('SYN-SENT', { family });
      rig.wait(180_000);
      expect(rig.flow.isGone).toBe(false);
      rig.frames.length = 0;
      rig.wait(3100);
      expect(rig.flow.calls).toEqual(['closed dial-timeout by upstream']);
      rig.expectEmpty();
    });

    test('is given up at the deadline of its caller', () => {
      const rig = new TcpRig({ family });
      rig.dial(rig.peer, { deadline: rig.clock.in(250) });
      rig.peer.expects('S 0:0(0)');
      rig.wait(249);
      expect(rig.flow.isGone).toBe(false);
      rig.wait(5);
      expect(rig.flow.calls).toEqual(['closed dial-timeout by upstream']);
      rig.expectEmpty();
    });

    test('an answer in time ends the deadline', () => {
      const rig = new TcpRig({ family });
      rig.dial(rig.peer, { deadline: rig.clock.in(250) });
      rig.peer.expects('S 0:0(0)');
      rig.peer.sends(rig.synAckLine);
      rig.peer.expects('. 1:1(0) ack 1');
      rig.wait(1000);
      expect(rig.flow.calls).toEqual(['connected']);
    });
  });

  describe(`IPv${family}: after a SYN that was lost`, () => {
    /** A peer that answers the SYN number `count`. */
    const answered = (count: number, timestamps: boolean) => {
      const rig = inState('SYN-SENT', { family, timestamps });
      for (let i = 1; i < count; i++) {
        rig.waitForFrame();
        rig.peer.expects('S 0:0(0)');
      }
      rig.wait(20);
      const echo = `,TS val 5 ecr ${rig.peer.tsRecent}`;
      const options = timestamps ? `mss 1460${echo}` : 'mss 1460';
      rig.peer.sends(`S. 0:0(0) ack 1 win 65535 <${options}>`);
      rig.peer.expects('. 1:1(0) ack 1');
      return rig.tcb;
    };

    test('the timeout begins with three seconds (RFC 6298 §5.7)', () => {
      const tcb = answered(3, false);
      expect([tcb.rtoUs, tcb.backoff, tcb.srttUs]).toEqual([3_000_000, 0, 0]);
    });

    test('or with the round trip, where timestamps tell it (RFC 7323 §4.1)', () => {
      const tcb = answered(3, true);
      expect(tcb.backoff).toBe(0);
      expect(Math.abs(tcb.srttUs - 20_000)).toBeLessThanOrEqual(1000);
    });

    test('the window begins with one segment when two were lost, not one (RFC 6928 §2)', () => {
      const windows = [1, 2, 3].map((count) => {
        const tcb = answered(count, false);
        return tcb.cwnd / tcb.mss;
      });
      expect(windows).toEqual([10, 10, 1]);
    });

    test('the round trip of a SYN that was not lost is measured', () => {
      expect(answered(1, false).srttUs).toBe(20_000);
    });
  });

  describe(`IPv${family}: what is not opened`, () => {
    const addresses =
      family === 4
        ? ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255']
        : ['::', '::1', 'ff02::1', '::ffff:198.18.0.1'];
    for (const address of addresses) {
      test(`to or from ${address} (RFC 9293 §3.9.2.3)`, () => {
        const rig = new TcpRig({ family });
        expect(rig.dial(rig.peer, { destination: address })).toBe(NotOpened.BAD_ADDRESS);
        expect(rig.dial(rig.peer, { source: address })).toBe(NotOpened.BAD_ADDRESS);
        rig.expectEmpty();
      });
    }

    test('to port 0', () => {
      const rig = new TcpRig({ family });
      expect(rig.dial(rig.peer, { destinationPort: 0 })).toBe(NotOpened.BAD_ADDRESS);
    });

    for (const state of ['LISTEN', 'SYN-SENT', 'ESTABLISHED', 'TIME-WAIT'] as const) {
      test(`between ends that have a connection in ${state}`, () => {
        const rig = inState(state, { family });
        expect(rig.dial()).toBe(NotOpened.IN_USE);
        expect(rig.frames).toEqual([]);
        expect(rig.state).toBe(state);
      });
    }

    test('in a full table', () => {
      const rig = new TcpRig({ family, limits: { flows: 2 } });
      const rows = [1, 2, 3].map((port) => rig.dial(rig.newPeer({ port })));
      expect(rows).toEqual([0, 1, NotOpened.TABLE_FULL]);
    });
  });

  test(`IPv${family}: the oldest connection in TIME-WAIT gives its row`, () => {
    const rig = inState('TIME-WAIT', { family, limits: { flows: 1 } });
    expect(rig.dial(rig.newPeer({ port: 41_000 }))).toBe(0);
    expect(rig.counters.get(Counter.TIME_WAIT_NOW)).toBe(0);
  });

  describe(`IPv${family}: Happy Eyeballs`, () => {
    test('the loser that has not answered leaves nothing, and its SYN-ACK draws a reset', () => {
      const rig = new TcpRig({ family });
      const [slow, fast] = [rig.newPeer({ port: 81 }), rig.newPeer({ port: 82 })];
      const rows = [rig.dial(slow), rig.dial(fast)];
      let winner = -1;
      rig.owner.reactions.connected = (row) => {
        winner = row;
      };
      slow.expects('S 0:0(0)');
      fast.expects('S 0:0(0)');
      fast.sends(rig.synAckLine);
      fast.expects('. 1:1(0) ack 1');
      expect(winner).toBe(rows[1]!);
      rig.stack.abort(rows[0]!, CloseReason.DIAL_ABANDONED, ClosedBy.GATEWAY, rig.now);
      slow.expectsNothing();
      expect(rig.owner.flow(rows[0]!).calls).toEqual(['closed dial-abandoned by gateway']);
      expect(rig.stack.flows.used).toBe(1);
      slow.sends(rig.synAckLine);
      slow.expects('R 1:1(0)');
      expect(rig.stack.flows.used).toBe(1);
    });

    test('the loser that has answered is reset', () => {
      const rig = new TcpRig({ family });
      const [second, first] = [rig.newPeer({ port: 81 }), rig.newPeer({ port: 82 })];
      const rows = [rig.dial(second), rig.dial(first)];
      for (const peer of [first, second]) {
        peer.expects('S 0:0(0)');
        peer.sends(rig.synAckLine);
        peer.expects('. 1:1(0) ack 1');
      }
      rig.stack.abort(rows[0]!, CloseReason.DIAL_ABANDONED, ClosedBy.GATEWAY, rig.now);
      second.expects('R. 1:1(0) ack 1');
      expect(rig.stack.flows.used).toBe(1);
    });
  });
}

test('CLOSE in SYN-SENT ends the dial in silence (RFC 9293 §3.10.4)', () => {
  const rig = inState('SYN-SENT');
  rig.close();
  expect(rig.flow.calls).toEqual(['closed dial-abandoned by gateway']);
  rig.expectEmpty();
});

test('there is no room for data in SYN-SENT, and it is offered with the answer', () => {
  const rig = inState('SYN-SENT');
  rig.send(100);
  expect(rig.flow.unsent).toBe(100);
  rig.peer.sends(rig.synAckLine);
  rig.peer.expects('P. 1:101(100) ack 1');
  expect(rig.flow.calls).toEqual(['connected', 'room']);
});

for (const crossing of [false, true]) {
  test(`RECEIVE while the dial lasts sends nothing, SYNs crossing: ${crossing}`, () => {
    const rig = inState('SYN-SENT');
    if (crossing) {
      rig.peer.sends(rig.synLine);
      rig.peer.expects('S. 0:0(0) ack 1');
    }
    rig.eat(100_000);
    rig.peer.expectsNothing();
  });
}

test('the owner may abort in its call "connected"', () => {
  const rig = inState('SYN-SENT');
  rig.owner.reactions.connected = (row, now) => {
    rig.stack.abort(row, CloseReason.KILLED, ClosedBy.GATEWAY, now);
  };
  rig.peer.sends('SFP. 0:100(100) ack 1 win 65535 <mss 1460>');
  rig.peer.expects('R. 1:1(0) ack 1');
  expect(rig.flow.calls).toEqual(['connected', 'closed killed by gateway']);
  rig.expectEmpty();
});

test('a device that refuses the SYN is asked again', () => {
  const rig = new TcpRig();
  rig.device.isRefusing = true;
  rig.dial();
  rig.device.isRefusing = false;
  rig.waitForFrame();
  rig.peer.expects('S 0:0(0)');
});

test('numbers and clocks of one pair of ends go on: a peer in TIME-WAIT takes the SYN', () => {
  const rig = inState('SYN-SENT');
  const first = { seq: rig.peer.last.seq, ts: rig.peer.tsRecent };
  rig.close();
  rig.wait(10);
  rig.dial();
  rig.peer.expects('S 0:0(0)');
  expect(rig.peer.tsRecent - first.ts).toBe(10);
  expect(rig.peer.last.seq - first.seq).toBe(2500);
});

test('the clocks of two pairs of ends have nothing to do with each other', () => {
  const rig = new TcpRig();
  const clocks = [81, 82].map((port) => {
    const peer = rig.newPeer({ port });
    rig.dial(peer);
    peer.expects('S 0:0(0)');
    return peer.tsRecent;
  });
  expect(Math.abs(clocks[0]! - clocks[1]!)).toBeGreaterThan(1000);
});

test('a connection that was dialled is kept alive, and times out, like any other', () => {
  const rig = inState('SYN-SENT', { settings: { keepaliveUs: 1_000_000 } });
  rig.peer.sends(rig.synAckLine);
  rig.peer.expects('. 1:1(0) ack 1');
  rig.waitForFrame();
  rig.peer.expects('. 0:0(0) ack 1');
  rig.wait(600_000);
  rig.frames.length = 0;
  expect(rig.flow.calls).toEqual(['connected', 'closed keepalive by client']);
  rig.expectEmpty();
});
