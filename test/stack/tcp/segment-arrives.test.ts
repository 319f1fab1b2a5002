/**
 * SEGMENT ARRIVES, RFC 9293 §3.10.7, check by check. That every event has an answer in every state
 * is shown by event-matrix.test.ts.
 */
import { describe, expect, test } from 'bun:test';
import { seconds } from '../../../src/stack/time.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState, POSITIONS } from '../../support/tcp-states.ts';

describe('first check, the sequence number', () => {
  test('the part of a segment that was received before is cut off', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.sends('P. 51:201(150) ack 1 win 512');
    expect(rig.flow.calls.slice(2)).toEqual(['data 100', 'data 100']);
    expect(rig.flow.received).toBe(200);
  });

  test('the part of a segment beyond the window is cut off, and the FIN behind it', () => {
    const rig = inState('SYN-RECEIVED');
    rig.owner.reactions.established = (row) => {
      rig.owner.flow(row).appetite = 0;
    };
    // The window of the SYN-ACK is not scaled: 65,535 bytes.
    rig.batch(() => {
      rig.peer.sends('P. 1:60001(60000) ack 1 win 512', 1460);
      rig.peer.sends('F. 60001:66001(6000) ack 1 win 512', 1460);
    });
    rig.peer.expects('. 1:1(0) ack 65536');
    expect(rig.state).toBe('ESTABLISHED');
    expect(rig.tcb.backlogBytes).toBe(65_535);
  });

  test('sequence numbers wrap around on both sides', () => {
    const rig = inState('ESTABLISHED', { peerIss: 0xffff_ff00, stackIss: 0xffff_ff80 });
    expect(rig.peer.serverIss).toBe(0xffff_ff80);
    rig.send(1000);
    rig.peer.expects('P. 1:1001(1000) ack 1');
    rig.peer.sends('P. 401:801(400) ack 1 win 512');
    rig.peer.expects('. 1001:1001(0) ack 1');
    rig.peer.sends('P. 1:401(400) ack 501 win 512');
    rig.peer.expects('. 1001:1001(0) ack 801');
    rig.peer.sends('. 801:801(0) ack 1001 win 512');
    expect(rig.tcb.flightSize).toBe(0);
    expect(rig.flow.received).toBe(800);
  });

  test('SYN-RECEIVED: another SYN in the window draws an ACK that makes the client reset', () => {
    const rig = inState('SYN-RECEIVED');
    rig.peer.sends('S 9:9(0) win 65535 <mss 1460>');
    rig.peer.expects('. 1:1(0) ack 1');
    rig.peer.sends('R 1:1(0)');
    expect(rig.flow.calls).toEqual(['syn', 'closed client-reset by client']);
    rig.expectEmpty();
  });
});

describe('second check, RST', () => {
  test('is judged by the number that it carries, not by what trimming leaves of it', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.sends('R. 51:151(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 101');
    expect(rig.drops).toEqual({ challenged: 1 });
    expect(rig.state).toBe('ESTABLISHED');
  });

  test('a closed window does not keep an exact one out', () => {
    const rig = inState('ESTABLISHED', { settings: { slabBytesPerFlow: 4096 } });
    rig.flow.appetite = 0;
    rig.peer.sends('P. 1:4097(4096) ack 1 win 512', 1448);
    rig.peer.expects('. 1:1(0) ack 4097 win 0');
    rig.peer.sends('R 4098:4098(0)');
    rig.peer.sends('R 4097:4097(0)');
    rig.expectEmpty();
  });
});

describe('timestamps, RFC 7323 §5', () => {
  const timestamps = true;

  test('PAWS drops a segment with an older timestamp, and acknowledges', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const old = rig.clock.ms - 1;
    rig.peer.sends(`P. 1:101(100) ack 1 win 512 <nop,nop,TS val ${old} ecr 0>`);
    rig.peer.expects('. 1:1(0) ack 1');
    expect(rig.drops).toEqual({ paws: 1 });
    expect(rig.flow.received).toBe(0);
  });

  test('a segment without the negotiated timestamps is dropped in silence', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    rig.peer.sends('P. 1:101(100) ack 1 win 512 <>');
    rig.peer.expectsNothing();
    expect(rig.drops).toEqual({ paws: 1 });
  });

  test('a reset needs no timestamp', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    rig.peer.sends('R 1:1(0) <>');
    rig.expectEmpty();
  });

  test('the newest timestamp of an in-order segment is echoed', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    rig.wait(500);
    const { ms } = rig.clock;
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.wait(44);
    rig.peer.expects(`. 1:1(0) ack 101 <TS val * ecr ${ms}>`);
  });

  test('an early segment does not change what is echoed: the hole is to be measured', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const { ms } = rig.clock;
    rig.wait(500);
    rig.peer.sends('P. 101:201(100) ack 1 win 512');
    rig.peer.expects(`. 1:1(0) ack 1 <TS val * ecr ${ms}>`);
  });

  test('a segment outside the window does not change what is echoed', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const { ms } = rig.clock;
    rig.peer.sends(`. -9000:-9000(0) ack 1 win 512 <nop,nop,TS val ${ms + 5000} ecr 0>`);
    rig.peer.expects(`. 1:1(0) ack 1 <TS val * ecr ${ms}>`);
  });

  test('a reset in the window, which may be forged, does not change what is echoed', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const { ms } = rig.clock;
    rig.peer.sends(`R 9:9(0) <nop,nop,TS val ${ms + 5000} ecr 0>`);
    rig.peer.expects(`. 1:1(0) ack 1 <TS val * ecr ${ms}>`);
  });

  test('after 24 days of silence a timestamp is news, whatever its value', () => {
    const rig = inState('ESTABLISHED', { timestamps });
    const { ms } = rig.clock;
    rig.clock.advance(seconds(25 * 24 * 3600));
    const value = (ms - 1000) >>> 0;
    rig.peer.sends(`P. 1:101(100) ack 1 win 512 <nop,nop,TS val ${value} ecr 0>`);
    rig.wait(44);
    rig.peer.expects(`. 1:1(0) ack 101 <TS val * ecr ${value}>`);
    rig.peer.sends(`P. 101:201(100) ack 1 win 512 <nop,nop,TS val ${value - 1} ecr 0>`);
    expect(rig.drops).toEqual({ paws: 1 });
  });

  test('timestamps wrap around', () => {
    const rig = new TcpRig({ timestamps });
    rig.peer.sends('S 0:0(0) win 65535 <mss 1460,TS val 4294967290 ecr 0>');
    rig.accept();
    rig.peer.expects('S. 0:0(0) ack 1 <mss 1460,TS val * ecr 4294967290>');
    rig.peer.sends('. 1:1(0) ack 1 win 512 <nop,nop,TS val 3 ecr 0>');
    rig.peer.sends('P. 1:101(100) ack 1 win 512 <nop,nop,TS val 4294967295 ecr 0>');
    expect(rig.drops).toEqual({ paws: 1 });
  });
});

describe('fourth check, SYN', () => {
  const SYN_AGAIN = 'S 5000:5000(0) win 65535 <mss 1460>';

  test('TIME-WAIT: a SYN further left is an old duplicate, and is acknowledged', () => {
    const rig = inState('TIME-WAIT');
    rig.peer.sends('S -5000:-5000(0) win 65535 <mss 1460>');
    rig.peer.expects('. 2:2(0) ack 2');
    expect(rig.state).toBe('TIME-WAIT');
  });

  test('TIME-WAIT: a newer timestamp reopens even where the numbers go back (RFC 6191)', () => {
    const rig = inState('TIME-WAIT', { timestamps: true });
    rig.owner.reactions.syn = () => {};
    rig.wait(1000);
    const { ms } = rig.clock;
    rig.peer.sends(`S -5000:-5000(0) win 65535 <mss 1460,TS val ${ms} ecr 0>`);
    expect(rig.state).toBe('LISTEN');
    expect(rig.owner.flows).toHaveLength(2);
  });

  test('TIME-WAIT: a reopened connection works from SYN to end', () => {
    const rig = inState('TIME-WAIT');
    const again = rig.newPeer({ iss: rig.peer.options.iss + 5000 });
    rig.connect(again);
    again.sends('P. 1:101(100) ack 1 win 512');
    expect(rig.flow.received).toBe(100);
    again.sends('R 101:101(0)');
    rig.expectEmpty();
  });

  test('TIME-WAIT: the numbers of a new connection lie behind the old (RFC 9293 §3.6.1)', () => {
    const rig = inState('ESTABLISHED');
    rig.send(1_000_000);
    // In far less than the four seconds that the clock of initial numbers needs for as many.
    while (rig.tcb.flightSize > 0) {
      rig.peer.readAll();
      rig.clock.advance(1000);
      rig.peer.sends(`. 1:1(0) ack ${(rig.tcb.sndNxt - rig.peer.serverIss) >>> 0} win 512`);
    }
    rig.close();
    rig.peer.expects('F. 1000001:1000001(0) ack 1');
    rig.peer.sends('F. 1:1(0) ack 1000002 win 512');
    rig.peer.expects('. 1000002:1000002(0) ack 2');
    const end = rig.peer.serverIss + 1_000_002;
    const again = rig.newPeer({ iss: rig.peer.options.iss + 5000 });
    rig.connect(again);
    expect((again.serverIss - end) | 0).toBeGreaterThanOrEqual(0);
    again.sends('P. 1:101(100) ack 1 win 512');
    rig.send(100);
    again.expects('P. 1:101(100) ack 101');
  });

  test('TIME-WAIT: a SYN waits until the owner has taken all of the old connection', () => {
    const rig = inState('FIN-WAIT-2');
    rig.flow.appetite = 0;
    rig.peer.sends('F. 1:101(100) ack 2 win 512');
    rig.peer.expects('. 2:2(0) ack 102');
    expect(rig.state).toBe('TIME-WAIT');
    rig.peer.sends(SYN_AGAIN);
    rig.peer.expects('. 2:2(0) ack 102');
    rig.eat(100);
    expect(rig.flow.calls.slice(-3)).toEqual(['data 100', 'fin', 'closed eof by upstream']);
    rig.owner.reactions.syn = () => {};
    rig.peer.sends(SYN_AGAIN);
    expect(rig.state).toBe('LISTEN');
  });
});

describe('fifth check, ACK', () => {
  test('SYN-RECEIVED: an ACK of what was not sent is answered with a reset', () => {
    const rig = inState('SYN-RECEIVED');
    rig.peer.sends('. 1:1(0) ack 7 win 512');
    rig.peer.expects('R 7:7(0)');
    expect(rig.drops).toEqual({ 'unacceptable-ack': 1 });
    expect(rig.state).toBe('SYN-RECEIVED');
  });

  test('ESTABLISHED: a segment without ACK is dropped', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P 1:101(100) win 512');
    rig.peer.expectsNothing();
    expect(rig.drops).toEqual({ 'no-ack': 1 });
    expect(rig.flow.received).toBe(0);
  });

  test('the handshake may be finished by data, and by data with FIN', () => {
    const rig = inState('SYN-RECEIVED');
    rig.peer.sends('FP. 1:101(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 102');
    expect(rig.flow.calls).toEqual(['syn', 'established', 'data 100', 'fin']);
  });
});

describe('eighth check, FIN', () => {
  test('a FIN that arrives early waits for what comes before it', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('F. 101:201(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 1');
    expect(rig.state).toBe('ESTABLISHED');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 202');
    expect(rig.state).toBe('CLOSE-WAIT');
    expect(rig.flow.calls.slice(2)).toEqual(['data 100', 'data 100', 'fin']);
  });

  test('a bare FIN that arrives early waits, too', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('F. 101:101(0) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 1');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 102');
    expect(rig.flow.calls.slice(2)).toEqual(['data 100', 'fin']);
  });

  test('an early FIN that was wrong does not hide the right one', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('F. 501:501(0) ack 1 win 512');
    rig.peer.sends('F. 1:101(100) ack 1 win 512');
    expect(rig.state).toBe('CLOSE-WAIT');
    expect(rig.flow.calls.slice(2)).toEqual(['data 100', 'fin']);
  });

  for (const state of ['CLOSE-WAIT', 'CLOSING', 'LAST-ACK', 'TIME-WAIT'] as const) {
    test(`${state}: the FIN again is acknowledged again`, () => {
      const rig = inState(state);
      const { stack } = POSITIONS[state];
      rig.peer.sends('F. 1:1(0) ack 1 win 512');
      rig.peer.expects(`. ${stack}:${stack}(0) ack 2`);
      expect(rig.state).toBe(state);
      expect(rig.flow.calls.filter((call) => call === 'fin')).toHaveLength(1);
    });
  }

  test('TIME-WAIT: the FIN again starts the wait again', () => {
    const rig = inState('TIME-WAIT');
    rig.wait(50_000);
    rig.peer.sends('F. 1:1(0) ack 2 win 512');
    rig.peer.expects('. 2:2(0) ack 2');
    rig.wait(50_000);
    expect(rig.state).toBe('TIME-WAIT');
    rig.wait(11_000);
    rig.expectEmpty();
  });

  test('TIME-WAIT: a FIN further right starts the wait again, too', () => {
    const rig = inState('TIME-WAIT');
    rig.wait(50_000);
    rig.peer.sends('F. 2:2(0) ack 2 win 512');
    rig.wait(50_000);
    expect(rig.state).toBe('TIME-WAIT');
  });

  test('bytes behind a FIN never reach the owner, and are not kept', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P. 102:202(100) ack 1 win 512');
    rig.peer.sends('F. 1:101(100) ack 1 win 512');
    expect(rig.state).toBe('CLOSE-WAIT');
    expect(rig.flow.received).toBe(100);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });
});
