/** What an acknowledgment releases, refuses, and tells of the window. */
import { describe, expect, test } from 'bun:test';
import { FlowField } from '../../../src/stack/flow-row.ts';
import { asSeq } from '../../../src/stack/wire/seq.ts';
import { inState } from '../../support/tcp-states.ts';

describe('the ACK field', () => {
  test('releases the slabs whose last byte it covers, and no others', () => {
    const rig = inState('ESTABLISHED');
    rig.send(1000);
    rig.send(1000);
    const both = rig.stack.slabs.bytesUsed;
    rig.peer.sends('. 1:1(0) ack 1000 win 512');
    expect(rig.stack.slabs.bytesUsed).toBe(both);
    rig.peer.sends('. 1:1(0) ack 1001 win 512');
    expect(rig.stack.slabs.bytesUsed).toBe(both / 2);
    rig.peer.sends('. 1:1(0) ack 2001 win 512');
    expect(rig.stack.slabs.bytesUsed).toBe(0);
    expect(rig.tcb.sendSlabBytes).toBe(0);
  });

  for (const sack of [false, true]) {
    test(`is life, and starts the idle timeout again, SACK ${sack}`, () => {
      const rig = inState('ESTABLISHED', { sack });
      const lastUsed = () =>
        rig.stack.arena.view.getFloat64(rig.tcb.flowAt + FlowField.LAST_USED_AT, true);
      rig.send(1000);
      rig.clock.advance(50_000);
      rig.peer.sends('. 1:1(0) ack 501 win 512');
      expect(lastUsed()).toBe(rig.now);
      rig.clock.advance(50_000);
      rig.peer.sends('. 1:1(0) ack 501 win 512');
      expect(lastUsed()).toBe(rig.now - 50_000);
    });
  }

  test('may acknowledge in the middle of a segment', () => {
    const rig = inState('ESTABLISHED');
    rig.send(1000);
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 301 win 512');
    expect(rig.tcb.flightSize).toBe(700);
    rig.waitForFrame();
    rig.peer.expects('P. 301:1001(700) ack 1');
  });

  test('of what was never sent draws a challenge ACK (RFC 5961 §5)', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P. 1:101(100) ack 2 win 512');
    rig.peer.expects('. 1:1(0) ack 1');
    expect(rig.drops).toEqual({ 'unacceptable-ack': 1 });
    expect(rig.flow.received).toBe(0);
  });

  test('from further back than the largest window draws a challenge ACK (RFC 5961 §5)', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('P. 1:101(100) ack -65537 win 512');
    rig.peer.expects('. 1:1(0) ack 1');
    expect(rig.drops).toEqual({ 'unacceptable-ack': 1 });
  });

  test('takes `recover` along: after 2 GiB it would seem to lie ahead', () => {
    const rig = inState('ESTABLISHED');
    rig.tcb.recover = asSeq(rig.tcb.sndUna - 1000);
    rig.send(1000);
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 1001 win 512');
    expect(rig.tcb.recover).toBe(rig.tcb.sndUna);
  });

  test('that is old is no news, and its text is taken', () => {
    const rig = inState('ESTABLISHED');
    rig.send(1000);
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 1001 win 512');
    rig.peer.sends('P. 1:101(100) ack 501 win 512');
    expect(rig.tcb.sndUna).toBe(asSeq(rig.peer.serverIss + 1001));
    expect(rig.flow.received).toBe(100);
  });
});

describe('the window field (RFC 9293 §3.10.7.4, fifth check)', () => {
  test('is scaled, but on the SYN', () => {
    const rig = inState('SYN-RECEIVED');
    expect(rig.tcb.sndWnd).toBe(65_535);
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(rig.tcb.sndWnd).toBe(65_536);
  });

  test('of an older segment does not count', () => {
    const rig = inState('ESTABLISHED');
    rig.batch(() => {
      rig.peer.sends('P. 101:201(100) ack 1 win 100');
      rig.peer.sends('P. 1:101(100) ack 1 win 511');
    });
    expect(rig.tcb.sndWnd).toBe(100 << 7);
  });

  test('bounds what is in flight', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('. 1:1(0) ack 1 win 10');
    rig.send(5000);
    rig.peer.expects('P. 1:1281(1280) ack 1');
    rig.peer.expectsNothing();
    rig.peer.sends('. 1:1(0) ack 1281 win 512');
    rig.peer.expects('P. 1281:5001(3720) ack 1');
  });

  test('that is closed stops the sender, and the owner is told when it opens', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends('. 1:1(0) ack 1 win 0');
    rig.send(1000);
    rig.peer.expectsNothing();
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.peer.expects('P. 1:1001(1000) ack 1');
    expect(rig.flow.calls.slice(2)).toEqual(['room']);
  });

  test('that shrinks below what is in flight leaves no room, and breaks nothing', () => {
    const rig = inState('ESTABLISHED');
    rig.send(5000);
    rig.peer.readAll();
    rig.peer.sends('. 1:1(0) ack 1001 win 1');
    expect(rig.stack.room(rig.row, rig.now)).toBe(0);
    rig.peer.sends('. 1:1(0) ack 5001 win 512');
    expect(rig.stack.room(rig.row, rig.now)).toBeGreaterThan(0);
  });

  test('does not need scaling', () => {
    const rig = inState('LISTEN');
    const other = rig.newPeer({ port: 40_001 });
    rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
    other.sends('S 0:0(0) win 4000 <mss 1000>');
    other.expects('S. 0:0(0) ack 1 win 65535 <mss 1460>');
    other.sends('. 1:1(0) ack 1 win 3000');
    rig.send(5000);
    other.expects('P. 1:3001(3000) ack 1 win 65535');
  });
});
