/** Segment text: in order, kept for a slow owner, early, overlapping. */

import { describe, expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { FlowCount } from '../../../src/stack/flow-counts.ts';
import { flowTotal } from '../../../src/stack/flow-tally.ts';
import { permutations } from '../../support/permutations.ts';
import { TcpRig } from '../../support/tcp-rig.ts';
import { inState } from '../../support/tcp-states.ts';

/** Segments of 100 bytes, by their number. */
const piece = (index: number, count = 1) => {
  const start = 1 + index * 100;
  return `P. ${start}:${start + count * 100}(${count * 100}) ack 1 win 512`;
};

/** A connection whose owner takes nothing. */
function withoutAppetite(options = {}): TcpRig {
  const rig = inState('ESTABLISHED', options);
  rig.flow.appetite = 0;
  return rig;
}

describe('in order', () => {
  for (const family of [4, 6] as const) {
    for (const timestamps of [false, true]) {
      test(`IPv${family}, timestamps ${timestamps}: bytes reach the owner as they come`, () => {
        const rig = inState('ESTABLISHED', { family, timestamps });
        rig.peer.sends(piece(0));
        rig.peer.sends(piece(1, 10));
        expect(rig.flow.calls.slice(2)).toEqual(['data 100', 'data 1000']);
        expect(flowTotal(rig.counters, FlowCount.BYTES_UP)).toBe(1100);
        expect(rig.stack.slabs.bytesUsed).toBe(0);
      });
    }
  }

  test('a superpacket is one segment', () => {
    const rig = inState('ESTABLISHED');
    rig.batch(() => {
      rig.peer.sends('P. 1:60001(60000) ack 1 win 512', 1460);
    });
    expect(rig.flow.calls.slice(2)).toEqual(['data 60000']);
    rig.peer.expects('. 1:1(0) ack 60001');
    rig.peer.expectsNothing();
  });
});

describe('an owner that takes less', () => {
  test('what it leaves is kept, acknowledged, and handed over by drain', () => {
    const rig = inState('ESTABLISHED');
    rig.flow.appetite = 30;
    rig.peer.sends(piece(0));
    rig.peer.sends(piece(1));
    rig.wait(44);
    rig.peer.expects('. 1:1(0) ack 201');
    expect(rig.flow.received).toBe(30);
    expect(rig.tcb.backlogBytes).toBe(170);
    rig.eat(100);
    expect(rig.flow.received).toBe(130);
    rig.eat(1000);
    expect(rig.flow.received).toBe(200);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('while something is kept, new bytes queue behind it', () => {
    const rig = withoutAppetite();
    rig.peer.sends(piece(0));
    rig.flow.appetite = 1000;
    rig.peer.sends(piece(1));
    expect(rig.flow.received).toBe(0);
    rig.eat(0);
    expect(rig.flow.received).toBe(200);
  });

  test('a backlog of many sizes of slab comes out in order', () => {
    const rig = withoutAppetite();
    let next = 1;
    for (const length of [1, 2015, 3, 17_000, 500, 60_000, 1, 1448]) {
      rig.peer.sends(`P. ${next}:${next + length}(${length}) ack 1 win 512`, 1448);
      next += length;
    }
    for (let eaten = 0; eaten < next - 1; eaten += 777) rig.eat(777);
    expect(rig.flow.received).toBe(next - 1);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('FIN is told after the last byte was taken', () => {
    const rig = withoutAppetite();
    rig.peer.sends('F. 1:101(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 102');
    expect(rig.state).toBe('CLOSE-WAIT');
    rig.eat(99);
    expect(rig.flow.calls).not.toContain('fin');
    rig.eat(1);
    expect(rig.flow.calls.at(-1)).toBe('fin');
  });

  test('LAST-ACK: the connection ends when the last byte was taken, not before', () => {
    const rig = withoutAppetite();
    rig.peer.sends('F. 1:101(100) ack 1 win 512');
    rig.close();
    rig.peer.readAll();
    rig.peer.sends('. 102:102(0) ack 2 win 512');
    expect(rig.flow.calls).not.toContain('closed eof by client');
    rig.eat(100);
    expect(rig.flow.calls.slice(-2)).toEqual(['fin', 'closed eof by client']);
    rig.expectEmpty();
  });

  test('the window closes when memory for the flow is full, and opens with an ACK', () => {
    const rig = withoutAppetite({ settings: { slabBytesPerFlow: 100_000 } });
    let sent = 1;
    let right = 65_536;
    while (sent < right) {
      const length = Math.min(right - sent, 10_000);
      rig.peer.sends(`P. ${sent}:${sent + length}(${length}) ack 1 win 512`, 1448);
      sent += length;
      rig.wait(44);
      for (const segment of rig.peer.readAll()) {
        right = Math.max(right, rig.peer.relativeAck(segment) + (segment.window << 7));
      }
    }
    expect(sent - 1).toBeGreaterThan(99_000);
    expect(sent - 1).toBeLessThan(100_000 + 128);
    rig.peer.expectsNothing();
    rig.eat(60_000);
    const update = rig.peer.expects(`. 1:1(0) ack ${sent}`);
    expect(update.window << 7).toBeGreaterThan(50_000);
    rig.eat(1_000_000);
    expect(rig.flow.received).toBe(sent - 1);
  });

  test('a small memory for the flow still opens the window again', () => {
    const rig = withoutAppetite({ settings: { slabBytesPerFlow: 8192 } });
    rig.peer.sends('P. 1:8193(8192) ack 1 win 512', 1448);
    expect(rig.peer.expects('. 1:1(0) ack 8193').window).toBe(0);
    rig.eat(8192);
    expect(rig.peer.expects('. 1:1(0) ack 8193').window << 7).toBeGreaterThan(4096);
  });

  test('a closed window is probed: the byte is refused, the window is told', () => {
    const rig = withoutAppetite({ settings: { slabBytesPerFlow: 8192 } });
    rig.peer.sends('P. 1:8193(8192) ack 1 win 512', 1448);
    rig.peer.read();
    rig.peer.sends('. 8193:8194(1) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 8193 win 0');
    expect(rig.drops).toEqual({ 'out-of-window': 1 });
  });

  test('a closed window does not deafen: acknowledgments and resets are taken', () => {
    const rig = withoutAppetite({ settings: { slabBytesPerFlow: 8192 } });
    rig.peer.sends('P. 1:8193(8192) ack 1 win 512', 1448);
    rig.peer.read();
    rig.send(100);
    rig.peer.expects('P. 1:101(100) ack 8193');
    rig.peer.sends('P. 8193:8293(100) ack 101 win 512');
    expect(rig.tcb.flightSize).toBe(0);
    rig.peer.expects('. 101:101(0) ack 8193 win 0');
    rig.peer.sends('R 8193:8193(0)');
    rig.expectEmpty();
  });

  for (const scaled of [true, false]) {
    test(`a trickle into a full window does not move its edge, scaled ${scaled}`, () => {
      const rig = new TcpRig({ settings: { slabBytesPerFlow: 8192 } });
      rig.owner.appetite = 0;
      rig.peer.sends(`S 0:0(0) win 65535 <mss 1460${scaled ? ',wscale 7' : ''}>`);
      rig.accept();
      rig.peer.read();
      rig.peer.sends('. 1:1(0) ack 1 win 512');
      let sent = 1;
      for (let i = 0; i < 8100; i += 900) {
        rig.peer.sends(`P. ${sent}:${sent + 900}(900) ack 1 win 512`);
        sent += 900;
      }
      for (let i = 0; i < 500; i++) {
        rig.peer.sends(`P. ${sent + i}:${sent + i + 1}(1) ack 1 win 512`);
        rig.wait(44);
      }
      expect(rig.tcb.backlogBytes).toBeLessThanOrEqual(8192 + 127);
    });
  }
});

describe('early segments', () => {
  test('are kept, acknowledged at once, and delivered when the hole is filled', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends(piece(2));
    rig.peer.expects('. 1:1(0) ack 1');
    rig.peer.sends(piece(1));
    rig.peer.expects('. 1:1(0) ack 1');
    expect(rig.flow.received).toBe(0);
    rig.peer.sends(piece(0));
    rig.peer.expects('. 1:1(0) ack 301');
    expect(rig.flow.received).toBe(300);
    expect(rig.counters.get(Counter.TCP_OUT_OF_ORDER)).toBe(2);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('in any order make the same stream', () => {
    // Every order of five pieces.
    const orders = permutations([0, 1, 2, 3, 4]);
    for (const order of orders) {
      const rig = inState('ESTABLISHED');
      for (const index of order) rig.peer.sends(piece(index));
      expect(rig.flow.received).toBe(500);
      expect(rig.tcb.assemblyCount).toBe(0);
      expect(rig.stack.slabs.bytesUsed).toBe(0);
    }
    expect(orders).toHaveLength(120);
  });

  test('that come again are dropped as duplicates', () => {
    const rig = inState('ESTABLISHED');
    rig.peer.sends(piece(2));
    rig.peer.sends(piece(2));
    expect(rig.drops).toEqual({ duplicate: 1 });
    expect(rig.tcb.assemblyCount).toBe(1);
  });

  test('may overlap in every way', () => {
    // [from, to) of five early segments, then what fills the hole.
    const segments = [
      [300, 500],
      [200, 350],
      [100, 600],
      [450, 700],
      [250, 260],
      [0, 150],
    ] as const;
    for (const order of permutations([0, 1, 2, 3, 4])) {
      const rig = inState('ESTABLISHED');
      for (const index of [...order, 5]) {
        const [from, to] = segments[index]!;
        rig.peer.sends(`P. ${from + 1}:${to + 1}(${to - from}) ack 1 win 512`);
      }
      expect(rig.flow.received).toBe(700);
      expect(rig.tcb.assemblyBytes).toBe(0);
      expect(rig.stack.slabs.bytesUsed).toBe(0);
    }
  });

  test('become the backlog of an owner that takes nothing', () => {
    const rig = withoutAppetite();
    rig.peer.sends(piece(1));
    rig.peer.sends(piece(2));
    rig.peer.sends(piece(0));
    rig.peer.sends(piece(3));
    expect(rig.tcb.backlogBytes).toBe(400);
    rig.eat(250);
    expect(rig.flow.received).toBe(250);
    rig.eat(250);
    expect(rig.flow.received).toBe(400);
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('that are small share slabs once they are backlog', () => {
    const rig = withoutAppetite();
    for (let i = 20; i >= 0; i--) rig.peer.sends(piece(i));
    expect(rig.tcb.backlogBytes).toBe(2100);
    expect(rig.stack.slabs.bytesUsed).toBeLessThanOrEqual(3 * 2176);
    rig.eat(3000);
    expect(rig.flow.received).toBe(2100);
  });

  test('are not kept while slabs are short: what is in order comes first', () => {
    const rig = inState('ESTABLISHED', { limits: { slabBytes: 8 * 69_632 } });
    const taken = Array.from({ length: 7 }, () => rig.stack.slabs.take(60_000));
    rig.peer.sends(piece(1));
    expect(rig.drops).toEqual({ 'slab-budget': 1 });
    rig.flow.appetite = 0;
    rig.peer.sends(piece(0));
    expect(rig.tcb.backlogBytes).toBe(100);
    for (const slab of taken) rig.stack.slabs.release(slab);
  });

  test('are bounded in number', () => {
    const rig = inState('ESTABLISHED');
    rig.batch(() => {
      for (let i = 0; i < 1030; i++)
        rig.peer.sends(`P. ${10 + 2 * i}:${11 + 2 * i}(1) ack 1 win 512`);
    });
    expect(rig.drops).toEqual({ 'out-of-order-limit': 6 });
  });

  test('are bounded in bytes, however they overlap', () => {
    const rig = inState('ESTABLISHED', { settings: { slabBytesPerFlow: 100_000 } });
    rig.peer.sends('P. 1:2(1) ack 1 win 512');
    rig.wait(44);
    for (let i = 0; i < 20; i++) {
      rig.peer.sends(`P. ${9 + i}:${20_009 + 2 * i}(${20_000 + i}) ack 1 win 512`, 1448);
    }
    expect(rig.tcb.assemblyBytes).toBeLessThanOrEqual(100_000);
    expect(rig.drops).toEqual({ 'out-of-order-limit': 16 });
  });

  test('wrap around with the sequence numbers', () => {
    const rig = inState('ESTABLISHED', { peerIss: 0xffff_ff80 });
    for (const index of [4, 2, 3, 1, 0]) rig.peer.sends(piece(index));
    expect(rig.flow.received).toBe(500);
  });
});

describe('with the slab budget used up', () => {
  /** Takes every slab but `left` bytes of payload. */
  function exhaust(rig: TcpRig): number[] {
    const taken: number[] = [];
    for (let slab = rig.stack.slabs.take(100); slab >= 0; slab = rig.stack.slabs.take(100)) {
      taken.push(slab);
    }
    return taken;
  }

  test('nothing is acknowledged that was not taken or kept', () => {
    const rig = inState('ESTABLISHED');
    const taken = exhaust(rig);
    rig.flow.appetite = 40;
    rig.peer.sends(piece(0));
    rig.peer.expects('. 1:1(0) ack 41');
    expect(rig.drops).toEqual({ 'slab-budget': 1 });
    for (const slab of taken) rig.stack.slabs.release(slab);
    rig.peer.sends(piece(0));
    rig.peer.sends(piece(1));
    rig.eat(1000);
    expect(rig.flow.received).toBe(200);
  });

  test('a FIN behind bytes that found no slab is not taken', () => {
    const rig = inState('ESTABLISHED');
    const taken = exhaust(rig);
    rig.flow.appetite = 40;
    rig.peer.sends('F. 1:101(100) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 41');
    expect(rig.state).toBe('ESTABLISHED');
    for (const slab of taken) rig.stack.slabs.release(slab);
    rig.flow.appetite = 1000;
    rig.peer.sends('F. 41:101(60) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 102');
    expect(rig.flow.calls.at(-1)).toBe('fin');
  });

  test('an early segment is dropped, and the hole is filled all the same', () => {
    const rig = inState('ESTABLISHED');
    const taken = exhaust(rig);
    rig.peer.sends(piece(1));
    rig.peer.expects('. 1:1(0) ack 1');
    expect(rig.drops).toEqual({ 'slab-budget': 1 });
    rig.peer.sends(piece(0));
    rig.peer.sends(piece(1));
    expect(rig.flow.received).toBe(200);
    for (const slab of taken) rig.stack.slabs.release(slab);
  });

  test('flows are promised less when three quarters are gone', () => {
    const rig = withoutAppetite({ limits: { slabBytes: 40 * 69_632 } });
    const taken = Array.from({ length: 31 }, () => rig.stack.slabs.take(60_000));
    rig.peer.sends('P. 1:40001(40000) ack 1 win 512', 1448);
    // 65,535 bytes were promised with the SYN-ACK, and stay so.
    expect(rig.peer.expects('. 1:1(0) ack 40001').window).toBe(199);
    rig.peer.sends('P. 40001:65536(25535) ack 1 win 512', 1448);
    expect(rig.peer.expects('. 1:1(0) ack 65536').window).toBeLessThanOrEqual(1);
    rig.eat(65_535);
    expect(rig.peer.expects('. 1:1(0) ack 65536').window << 7).toBe(32_768);
    for (const slab of taken) rig.stack.slabs.release(slab);
  });
});
