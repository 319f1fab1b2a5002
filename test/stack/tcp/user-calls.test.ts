/** What the owner of a connection asks: RFC 9293 §3.10.2 to §3.10.5. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { ClosedBy } from '../../../src/stack/flow-row.ts';
import { SLAB_PAYLOAD_AT } from '../../../src/stack/slab-pool.ts';
import { NEVER } from '../../../src/stack/time.ts';
import { fillStream, Stream } from '../../support/byte-stream.ts';
import { FULL_OFFLOAD, NO_OFFLOAD } from '../../support/memory-device.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState, POSITIONS, STATES } from '../../support/tcp-states.ts';

const kill = (rig: TcpRig) =>
  rig.stack.abort(rig.row, CloseReason.KILLED, ClosedBy.GATEWAY, rig.now);

describe('accept', () => {
  test('LISTEN: accept answers the SYN and moves to SYN-RECEIVED', () => {
    const rig = inState('LISTEN');
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1 win 65535 <mss 1460,nop,wscale 7>');
    expect(rig.state).toBe('SYN-RECEIVED');
  });

  test('the SYN-ACK offers only what the SYN offered', () => {
    const rig = new TcpRig();
    rig.peer.sends('S 0:0(0) win 1024');
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1 win 65535 <mss 1460>');
  });

  test('timestamps and window scale are agreed on when the SYN has them', () => {
    const rig = new TcpRig({ timestamps: true });
    rig.peer.sends('S 0:0(0) win 1024 <mss 1000,TS val 77 ecr 0,wscale 3>');
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1 <mss 1460,TS val * ecr 77,nop,wscale 7>');
  });

  for (const [family, mss] of [
    [4, 1460],
    [6, 1440],
  ] as const) {
    test(`IPv${family}: our MSS is what the MTU leaves`, () => {
      const rig = new TcpRig({ family });
      rig.peer.sends('S 0:0(0) win 1024 <mss 9000>');
      rig.accept();
      rig.peer.expects(`S. 0:0(0) ack 1 <mss ${mss}>`);
      rig.peer.sends('. 1:1(0) ack 1 win 65535');
      rig.send(2000);
      expect(rig.peer.expects('P. 1:2001(2000) ack 1').gsoSize).toBe(mss);
    });
  }

  for (const [family, mss] of [
    [4, 536],
    [6, 1220],
  ] as const) {
    test(`IPv${family}: a SYN without MSS means ${mss} bytes (RFC 9293 §3.7.1)`, () => {
      const rig = new TcpRig({ family });
      rig.peer.sends('S 0:0(0) win 65535');
      rig.accept();
      rig.peer.expects('S. 0:0(0) ack 1');
      rig.peer.sends('. 1:1(0) ack 1 win 65535');
      rig.send(3000);
      expect(rig.peer.read()?.gsoSize).toBe(mss);
    });
  }

  test('a segment carries 12 bytes less when it has timestamps (RFC 6691)', () => {
    const rig = inState('ESTABLISHED', { timestamps: true });
    rig.send(3000);
    expect(rig.peer.expects('P. 1:3001(3000) ack 1').gsoSize).toBe(1448);
  });

  test('an MSS too small to be meant is not believed', () => {
    const rig = new TcpRig();
    rig.peer.sends('S 0:0(0) win 65535 <mss 1>');
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 65535');
    rig.send(200);
    expect(rig.peer.read()?.gsoSize).toBe(64);
  });

  test('the window that the SYN-ACK offers is what a flow may hold', () => {
    const rig = new TcpRig({ settings: { slabBytesPerFlow: 20_000 } });
    rig.peer.sends('S 0:0(0) win 65535 <mss 1460>');
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1 win 20000');
  });
});

describe('send', () => {
  test('SYN-RECEIVED: there is no room before the handshake is finished', () => {
    const rig = inState('SYN-RECEIVED');
    rig.send(100);
    rig.peer.expectsNothing();
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.peer.expects('P. 1:101(100) ack 1');
    expect(rig.flow.calls).toEqual(['syn', 'established', 'room']);
  });

  test('CLOSE-WAIT: the other direction goes on (half-close)', () => {
    const rig = inState('CLOSE-WAIT');
    rig.send(100);
    rig.peer.expects('P. 1:101(100) ack 2');
    rig.peer.sends('. 2:2(0) ack 101 win 512');
    rig.close();
    rig.peer.expects('F. 101:101(0) ack 2');
    rig.peer.sends('. 2:2(0) ack 102 win 512');
    rig.expectEmpty();
  });

  test('the client may send after our FIN (half-close)', () => {
    const rig = inState('FIN-WAIT-2');
    rig.peer.sends('P. 1:1001(1000) ack 2 win 512');
    rig.peer.sends('F. 1001:2001(1000) ack 2 win 512');
    rig.peer.expects('. 2:2(0) ack 2002');
    expect(rig.flow.received).toBe(2000);
    expect(rig.state).toBe('TIME-WAIT');
  });

  for (const state of ['FIN-WAIT-1', 'FIN-WAIT-2', 'CLOSING', 'LAST-ACK'] as const) {
    test(`${state}: there is no room behind a FIN, and nobody waits for it`, () => {
      const rig = inState(state);
      expect(rig.stack.room(rig.row, rig.now)).toBe(0);
      rig.wait(100);
      expect(rig.flow.calls).not.toContain('room');
    });
  }
});

describe('close', () => {
  test('SYN-RECEIVED: the FIN waits for the end of the handshake (RFC 9293 §3.10.4)', () => {
    const rig = inState('SYN-RECEIVED');
    rig.close();
    rig.peer.expectsNothing();
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.peer.expects('F. 1:1(0) ack 1');
    expect(rig.state).toBe('FIN-WAIT-1');
    expect(rig.flow.calls).toEqual(['syn', 'established']);
  });

  test('SYN-RECEIVED: a lost SYN-ACK is sent again though close was called', () => {
    const rig = inState('SYN-RECEIVED');
    rig.close();
    rig.waitForFrame();
    rig.peer.expects('S. 0:0(0) ack 1');
  });

  test('SYN-RECEIVED: close, and a FIN that finishes the handshake, close simultaneously', () => {
    const rig = inState('SYN-RECEIVED');
    rig.close();
    rig.peer.sends('F. 1:1(0) ack 1 win 512');
    rig.peer.expects('F. 1:1(0) ack 1');
    rig.peer.expects('. 2:2(0) ack 2');
    expect(rig.state).toBe('CLOSING');
  });

  test('ESTABLISHED: the FIN follows the data at once', () => {
    const rig = inState('ESTABLISHED');
    rig.send(100);
    rig.close();
    rig.peer.expects('P. 1:101(100) ack 1');
    rig.peer.expects('F. 101:101(0) ack 1');
    expect(rig.state).toBe('FIN-WAIT-1');
  });

  test('FIN-WAIT-1: an ACK of the data but not of the FIN does not move on', () => {
    const rig = inState('ESTABLISHED');
    rig.send(100);
    rig.close();
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 101 win 512');
    expect(rig.state).toBe('FIN-WAIT-1');
    rig.peer.sends('. 1:1(0) ack 102 win 512');
    expect(rig.state).toBe('FIN-WAIT-2');
  });

  for (const state of ['FIN-WAIT-1', 'FIN-WAIT-2', 'CLOSING', 'LAST-ACK', 'TIME-WAIT'] as const) {
    test(`${state}: close again does nothing`, () => {
      const rig = inState(state);
      rig.stack.close(rig.row, rig.now);
      rig.peer.expectsNothing();
      expect(rig.state).toBe(state);
    });
  }
});

describe('transmitLast', () => {
  /** Sends the last bytes of the server's stream with their FIN. */
  function sendLast(rig: TcpRig, length: number): void {
    const { stack, flow, now } = rig;
    const slab = stack.slabs.take(length);
    fillStream(Stream.SERVER, flow.sent, stack.arena.bytes, slab + SLAB_PAYLOAD_AT, length);
    flow.sent += length;
    stack.transmitLast(rig.row, slab, length, now);
  }

  for (const [state, next, ended] of [
    ['ESTABLISHED', 'FIN-WAIT-1', 'FIN-WAIT-2'],
    ['CLOSE-WAIT', 'LAST-ACK', 'gone'],
  ] as const) {
    test(`${state}: data and FIN leave in one segment, and move to ${next}`, () => {
      const rig = inState(state);
      const { peer } = POSITIONS[state];
      sendLast(rig, 100);
      rig.peer.expects(`FP. 1:101(100) ack ${peer}`);
      expect(rig.state).toBe(next);
      rig.peer.sends(`. ${peer}:${peer}(0) ack 102 win 512`);
      if (ended === 'gone') rig.expectEmpty();
      else expect(rig.state).toBe(ended);
      expect(rig.stack.slabs.bytesUsed).toBe(0);
    });
  }

  for (const capabilities of [FULL_OFFLOAD, NO_OFFLOAD]) {
    test('the FIN stands on the last packet of a superpacket', () => {
      const rig = inState('ESTABLISHED', { capabilities });
      sendLast(rig, 3000);
      const segments = rig.peer.readAll();
      expect(segments.map(({ flags }) => flags & 1).at(-1)).toBe(1);
      expect(segments.reduce((count, { flags }) => count + (flags & 1), 0)).toBe(1);
    });
  }

  test('when it is lost, the data comes again and then the FIN', () => {
    const rig = inState('ESTABLISHED');
    sendLast(rig, 2000);
    rig.peer.readAll();
    rig.waitForFrame();
    rig.peer.expects('P. 1:1461(1460) ack 1');
    rig.peer.sends('. 1:1(0) ack 1461 win 512');
    rig.peer.expects('P. 1461:2001(540) ack 1');
    rig.peer.expects('F. 2001:2001(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 2002 win 512');
    expect(rig.state).toBe('FIN-WAIT-2');
  });

  test('nobody waits for room behind it: a closed window is not probed', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('. 1:1(0) ack 1 win 0');
    expect(rig.stack.room(rig.row, rig.now)).toBe(0);
    sendLast(rig, 100);
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 102 win 0');
    rig.wait(600_000);
    rig.peer.expectsNothing();
    expect(rig.state).toBe('FIN-WAIT-2');
  });
});

describe('abort', () => {
  for (const family of [4, 6] as const) {
    for (const state of STATES) {
      if (state === 'CLOSED') continue;
      const isSilent = state === 'SYN-SENT' || state === 'TIME-WAIT';
      const how = isSilent ? 'silently' : 'with RST';
      test(`${state}: abort ends an IPv${family} flow ${how}`, () => {
        const rig = inState(state, { family });
        kill(rig);
        const { peer, stack } = POSITIONS[state];
        if (state === 'LISTEN') rig.peer.expects('R. 0:0(0) ack 1');
        else if (!isSilent) rig.peer.expects(`R. ${stack}:${stack}(0) ack ${peer}`);
        rig.expectEmpty();
        // A connection in TIME-WAIT was reported when its owner was done with it.
        const reason =
          state === 'TIME-WAIT' ? 'closed eof by upstream' : 'closed killed by gateway';
        expect(rig.flow.calls.at(-1)).toBe(reason);
      });
    }
  }

  test('abort gives back what was sent, what was kept and what was early', () => {
    const rig = inState('ESTABLISHED');
    rig.flow.appetite = 0;
    rig.send(5000);
    rig.peer.sends('P. 1:1001(1000) ack 1 win 512');
    rig.peer.sends('P. 2001:3001(1000) ack 1 win 512');
    rig.peer.readAll();
    expect(rig.stack.slabs.bytesUsed).toBeGreaterThan(0);
    kill(rig);
    rig.peer.expects('R. 5001:5001(0) ack 1001');
    rig.expectEmpty();
  });

  test('abort of a row whose flow has ended does nothing', () => {
    const rig = inState('ESTABLISHED');
    kill(rig);
    rig.peer.read();
    kill(rig);
    rig.expectEmpty();
  });

  for (const call of ['syn', 'established', 'data', 'fin', 'room', 'deadline'] as const) {
    test(`the owner may abort in its call "${call}"`, () => {
      const rig = new TcpRig();
      rig.owner.reactions.syn = (row, now) => {
        if (call === 'deadline') rig.stack.setDeadline(row, rig.clock.in(50));
        rig.stack.accept(row, now);
      };
      if (call !== 'syn') rig.owner.reactions[call] = () => kill(rig);
      else rig.owner.reactions.syn = () => kill(rig);
      rig.peer.sends(rig.synLine);
      rig.peer.read();
      if (call !== 'syn') rig.peer.sends('. 1:1(0) ack 1 win 1');
      if (call === 'room') {
        rig.send(1000);
        rig.peer.sends('. 1:1(0) ack 129 win 512');
      } else if (call === 'data') {
        rig.batch(() => {
          rig.peer.sends('P. 101:201(100) ack 1 win 512');
          rig.peer.sends('P. 1:101(100) ack 1 win 512');
        });
      } else if (call === 'fin') {
        rig.peer.sends('FP. 1:101(100) ack 1 win 512');
      }
      rig.wait(100);
      rig.peer.readAll();
      // Nothing follows the reset: the row is free.
      if (call !== 'syn') expect(rig.peer.last.flags & 0x04).not.toBe(0);
      expect(rig.flow.calls.at(-1)).toBe('closed killed by gateway');
      expect(rig.flow.calls).toContain(call === 'data' ? 'data 100' : call);
      rig.expectEmpty();
    });
  }

  test('the owner may abort when it takes nothing', () => {
    const rig = inState('ESTABLISHED');
    rig.flow.appetite = 0;
    rig.owner.reactions.data = () => kill(rig);
    rig.peer.sends('P. 1:1001(1000) ack 1 win 512');
    rig.peer.expects('R. 1:1(0) ack 1');
    rig.expectEmpty();
  });

  test('the owner may abort while the backlog is drained', () => {
    const rig = inState('ESTABLISHED');
    rig.flow.appetite = 0;
    rig.peer.sends('P. 1:1001(1000) ack 1 win 512');
    rig.owner.reactions.data = () => kill(rig);
    rig.eat(1000);
    rig.peer.expects('R. 1:1(0) ack 1001');
    rig.expectEmpty();
    // Every slab is there once: two of the same place would overlap.
    const slabs = Array.from({ length: 64 }, () => rig.stack.slabs.take(100));
    expect(new Set(slabs).size).toBe(64);
  });

  test('the owner may abort when early segments become deliverable', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P. 101:201(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 1');
    rig.owner.reactions.data = () => {
      if (rig.flow.received === 200) kill(rig);
    };
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.expects('R. 1:1(0) ack 101');
    rig.expectEmpty();
  });
});

describe('deadline', () => {
  test('a held SYN whose deadline passes is shown to the owner, once', () => {
    const rig = inState('LISTEN');
    rig.stack.setDeadline(rig.row, rig.clock.in(1000));
    rig.wait(990);
    expect(rig.flow.calls).toEqual(['syn']);
    rig.wait(5000);
    expect(rig.flow.calls).toEqual(['syn', 'deadline']);
  });

  test('a deadline that was taken back does not come', () => {
    const rig = inState('LISTEN');
    rig.stack.setDeadline(rig.row, rig.clock.in(1000));
    rig.stack.setDeadline(rig.row, NEVER);
    rig.wait(5000);
    expect(rig.flow.calls).toEqual(['syn']);
  });

  test('a deadline that was brought forward comes sooner', () => {
    const rig = inState('LISTEN');
    rig.stack.setDeadline(rig.row, rig.clock.in(60_000));
    rig.stack.setDeadline(rig.row, rig.clock.in(100));
    rig.wait(110);
    expect(rig.flow.calls).toEqual(['syn', 'deadline']);
  });
});
