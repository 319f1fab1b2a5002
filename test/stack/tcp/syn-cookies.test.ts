/** SYNs that are answered without memory, and clients that come back with what they were given. */
import { describe, expect, test } from 'bun:test';
import { CloseReason } from '../../../src/stack/close-reason.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { ClosedBy, readFlowRow } from '../../../src/stack/flow-row.ts';
import { TcbFlag } from '../../../src/stack/tcp/tcb.ts';
import { tcpPacket } from '../../support/packet-builder.ts';
import { type RigOptions, TcpRig } from '../../support/tcp-rig.ts';

const FAMILIES = [4, 6] as const;
const SYN = 0x02;

/** A stack that answers every SYN with a cookie. */
const pressed = (options: RigOptions = {}): TcpRig =>
  new TcpRig({ ...options, limits: { synCookiesFrom: 0, ...options.limits } });

/** A client that holds a cookie. */
function withCookie(options: RigOptions = {}): TcpRig {
  const rig = pressed(options);
  rig.peer.sends(rig.synLine);
  rig.peer.expects('S. 0:0(0) ack 1');
  return rig;
}

/** A client that came back with its cookie, and waits for the verdict. */
function proved(options: RigOptions = {}): TcpRig {
  const rig = withCookie(options);
  rig.peer.sends('. 1:1(0) ack 1 win 512');
  return rig;
}

const cookieCounts = ({ counters }: TcpRig) => ({
  sent: counters.get(Counter.SYN_COOKIES_SENT),
  received: counters.get(Counter.SYN_COOKIES_RECEIVED),
  failed: counters.get(Counter.SYN_COOKIES_FAILED),
});

describe('a SYN under pressure (RFC 4987 §3.6)', () => {
  for (const family of FAMILIES) {
    test(`IPv${family}: is answered without a row, a timer, or a call to the owner`, () => {
      const rig = pressed({ family });
      rig.peer.sends(rig.synLine);
      rig.peer.expects('S. 0:0(0) ack 1');
      expect(rig.owner.flows).toEqual([]);
      expect(cookieCounts(rig)).toEqual({ sent: 1, received: 0, failed: 0 });
      rig.expectEmpty();
    });
  }

  test('gets the options that a timestamp can carry', () => {
    const rig = pressed({ timestamps: true });
    rig.peer.sends(rig.synLine);
    const { options } = rig.peer.expects('S. 0:0(0) ack 1 win 65535');
    expect(options).toContain('wscale 7');
    expect(options).toContain('mss 1460');
  });

  test('gets neither scaling nor SACK without timestamps, which nothing could carry', () => {
    const rig = pressed();
    rig.peer.sends(rig.synLine);
    rig.peer.expects('S. 0:0(0) ack 1 win 65535 <mss 1460>');
  });

  test('is held as long as fewer than the threshold wait', () => {
    const rig = new TcpRig({ limits: { heldSyns: 4, synCookiesFrom: 2 } });
    for (let i = 1; i <= 5; i++) rig.deliver(syn(1000 + i, `198.18.1.${i}`));
    expect(rig.owner.flows).toHaveLength(2);
    expect(rig.frames).toHaveLength(3);
    expect(cookieCounts(rig).sent).toBe(3);
  });

  test('of a source at its limit is dropped and comes again, while other sources are held', () => {
    const limits = { heldSyns: 16, heldSynsPerSource: 4, synCookiesFrom: 8 };
    const rig = new TcpRig({ limits });
    for (let port = 1; port <= 5; port++) rig.deliver(syn(port, '198.18.1.1'));
    rig.deliver(syn(1, '198.18.1.2'));
    expect(rig.owner.flows).toHaveLength(5);
    expect(cookieCounts(rig).sent).toBe(0);
  });

  test('many clients that come back with cookies are all taken, whatever is held', () => {
    const limits = { heldSyns: 4, heldSynsPerSource: 2, synCookiesFrom: 1 };
    const rig = new TcpRig({ limits });
    rig.deliver(syn(1, '198.18.1.9'));
    for (let port = 40_001; port <= 40_012; port++) {
      const client = rig.newPeer({ port });
      client.sends(rig.synLine);
      client.expects('S. 0:0(0) ack 1');
      client.sends('. 1:1(0) ack 1 win 512');
    }
    expect(rig.owner.flows).toHaveLength(13);
    expect(rig.drops).toEqual({});
  });

  test('an accepted flow counts until its client has answered the SYN-ACK', () => {
    const rig = new TcpRig({ limits: { synCookiesFrom: 1 } });
    rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
    rig.peer.sends(rig.synLine);
    rig.peer.expects('S. 0:0(0) ack 1');
    const other = rig.newPeer({ port: 40_001 });
    other.sends(rig.synLine);
    expect(cookieCounts(rig).sent).toBe(1);
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    const third = rig.newPeer({ port: 40_002 });
    third.sends(rig.synLine);
    expect(rig.owner.flows).toHaveLength(2);
  });

  test('gets the same answer when it is repeated, so that either is good', () => {
    const rig = withCookie();
    const first = rig.peer.serverIss;
    rig.clock.advance(1_000_000);
    rig.peer.sends(rig.synLine);
    rig.peer.expects('S. 0:0(0) ack 1');
    expect(rig.peer.serverIss).toBe(first);
  });
});

describe('an ACK with a cookie', () => {
  for (const family of FAMILIES) {
    test(`IPv${family}: makes the flow, and only now is the owner asked`, () => {
      const rig = proved({ family });
      expect(rig.flow.calls).toEqual(['syn']);
      expect(rig.state).toBe('ESTABLISHED');
      const flow = readFlowRow(rig.stack.arena.view, rig.stack.rowAt(rig.row));
      expect(flow).toMatchObject({ phase: 'deciding', tcpState: 'ESTABLISHED' });
      rig.peer.expectsNothing();
      rig.accept();
      expect(rig.flow.calls).toEqual(['syn', 'established']);
      rig.send(100);
      rig.peer.expects('P. 1:101(100) ack 1');
      expect(cookieCounts(rig)).toEqual({ sent: 1, received: 1, failed: 0 });
    });
  }

  test('may come after a later segment, which is dropped and not answered with a reset', () => {
    const rig = withCookie({ timestamps: true });
    rig.clock.advance(10_000);
    rig.peer.sends('. 1449:2897(1448) ack 1 win 512');
    rig.peer.expectsNothing();
    expect(rig.drops).toEqual({ 'before-cookie': 1 });
    expect(rig.owner.flows).toEqual([]);
    rig.peer.sends('. 1:1449(1448) ack 1 win 512');
    expect(rig.state).toBe('ESTABLISHED');
    expect(cookieCounts(rig)).toEqual({ sent: 1, received: 1, failed: 0 });
  });

  test('is not awaited from a stranger, whose timestamp does not fit', () => {
    const rig = withCookie({ timestamps: true });
    rig.newPeer({ port: 40_001 }).sends('. 1449:2897(1448) ack 1 win 512 <TS val 1 ecr 77>');
    expect(cookieCounts(rig)).toEqual({ sent: 1, received: 0, failed: 1 });
    expect(rig.drops).toEqual({ 'no-flow': 1 });
  });

  test('brings MSS, window scale, SACK and ECN back', () => {
    const rig = pressed({ timestamps: true });
    rig.peer.sends('SEW 0:0(0) win 65535 <mss 1400,sackOK,TS val 1 ecr 0,nop,wscale 9>');
    rig.peer.expects('SE. 0:0(0) ack 1');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(rig.tcb.synMss).toBe(1380);
    expect(rig.tcb.mss).toBe(1368);
    expect(rig.tcb.sndScale).toBe(9);
    expect(rig.tcb.sndWnd).toBe(512 << 9);
    const flags = TcbFlag.TIMESTAMPS | TcbFlag.SCALING | TcbFlag.SACK | TcbFlag.ECN_SETUP;
    expect(rig.tcb.flags & flags).toBe(flags);
  });

  test('without window scale brings none back', () => {
    const rig = pressed({ timestamps: true });
    rig.peer.sends('S 0:0(0) win 65535 <mss 1460,TS val 1 ecr 0>');
    const { options } = rig.peer.expects('S. 0:0(0) ack 1');
    expect(options.some((option) => option.startsWith('wscale'))).toBe(false);
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(rig.tcb.sndWnd).toBe(512);
    expect(rig.tcb.has(TcbFlag.SCALING | TcbFlag.SACK | TcbFlag.ECN_SETUP)).toBe(false);
  });

  for (const [offered, kept] of [
    [10_000, 8940],
    [1460, 1460],
    [1452, 1440],
    [700, 536],
    [100, 64],
  ] as const) {
    test(`keeps ${kept} of an MSS of ${offered}`, () => {
      const rig = pressed();
      rig.peer.sends(`S 0:0(0) win 65535 <mss ${offered}>`);
      rig.peer.expects('S. 0:0(0) ack 1');
      rig.peer.sends('. 1:1(0) ack 1 win 512');
      expect(rig.tcb.synMss).toBe(kept);
    });
  }

  test('its timestamps never go back (RFC 7323 §5.3)', () => {
    for (let i = 0; i < 100; i++) {
      const rig = proved({ timestamps: true });
      const first = rig.peer.tsRecent;
      rig.accept();
      rig.send(10);
      rig.peer.read();
      expect((rig.peer.tsRecent - first) | 0).toBeGreaterThanOrEqual(0);
      rig.clock.advance(997);
    }
  });

  test('may come with the first data, when the ACK was lost', () => {
    const rig = withCookie();
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.accept();
    expect(rig.flow.calls).toEqual(['syn', 'established', 'data 100']);
    expect(rig.flow.received).toBe(100);
  });

  test('may be accepted inside onFlow', () => {
    const rig = withCookie();
    rig.owner.reactions.syn = (row, now) => rig.stack.accept(row, now);
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    expect(rig.flow.calls).toEqual(['syn', 'established', 'data 100']);
    expect(rig.counters.get(Counter.HELD_SYNS_NOW)).toBe(0);
    rig.peer.expectsNothing();
  });

  for (const age of [59_000, 60_000]) {
    test(`is good after ${age / 1000} s`, () => {
      const rig = withCookie({ timestamps: true });
      rig.wait(age);
      rig.peer.sends('. 1:1(0) ack 1 win 512');
      expect(rig.state).toBe('ESTABLISHED');
    });
  }

  test('is not good after two minutes', () => {
    const rig = withCookie();
    rig.wait(121_000);
    rig.newPeer({ port: 40_001 }).sends(rig.synLine);
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.peer.expects('R 1:1(0)');
    expect(cookieCounts(rig).failed).toBe(1);
    expect(rig.owner.flows).toEqual([]);
  });

  for (const [what, line] of [
    ['another acknowledgment number', '. 1:1(0) ack 2 win 512'],
    ['another MSS class', '. 1:1(0) ack 0 win 512'],
    ['another sequence number', '. 2:2(0) ack 1 win 512'],
  ] as const) {
    test(`with ${what} is reset and counted`, () => {
      const rig = withCookie();
      rig.peer.sends(line);
      expect(rig.frames).toHaveLength(1);
      expect(cookieCounts(rig)).toEqual({ sent: 1, received: 0, failed: 1 });
      expect(rig.drops).toEqual({ 'no-flow': 1 });
    });
  }

  test('from another port is reset', () => {
    const rig = withCookie();
    const packet = { seq: rig.peer.options.iss + 1, ack: rig.peer.serverIss + 1, flags: 0x10 };
    const ends = { source: '198.18.0.1', destination: '198.18.0.80', destinationPort: 443 };
    rig.deliver(tcpPacket({ ...ends, ...packet, sourcePort: 40_001 }));
    expect(rig.owner.flows).toEqual([]);
    rig.deliver(tcpPacket({ ...ends, ...packet, sourcePort: 40_000 }));
    expect(rig.owner.flows).toHaveLength(1);
  });

  test('with an echo that was never sent is reset', () => {
    const rig = withCookie({ timestamps: true });
    const late = rig.peer.tsRecent + 1_000_000;
    rig.peer.sends(`. 1:1(0) ack 1 win 512 <nop,nop,TS val 9 ecr ${late}>`);
    expect(cookieCounts(rig).failed).toBe(1);
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(cookieCounts(rig).received).toBe(1);
  });

  test('is not looked at while no cookie is out', () => {
    const rig = new TcpRig();
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    expect(cookieCounts(rig).failed).toBe(0);
    expect(rig.drops).toEqual({ 'no-flow': 1 });
  });

  test('finds room while the table has rows, and a reset when there is none', () => {
    const rig = pressed({ limits: { flows: 2, heldSyns: 2, heldSynsPerSource: 2 } });
    for (let port = 1; port <= 3; port++) {
      const client = rig.newPeer({ port });
      client.sends(rig.synLine);
      client.expects('S. 0:0(0) ack 1');
      client.sends('. 1:1(0) ack 1 win 512');
      if (port === 3) client.expects('R 1:1(0)');
      else client.expectsNothing();
    }
    expect(rig.owner.flows).toHaveLength(2);
    expect(rig.drops).toEqual({ 'flow-table-full': 1 });
  });

  test('is reset when the flow table is full', () => {
    const rig = proved({ limits: { flows: 1 } });
    const other = rig.newPeer({ port: 40_001 });
    other.sends(rig.synLine);
    other.expects('S. 0:0(0) ack 1');
    other.sends('. 1:1(0) ack 1 win 512');
    other.expects('R 1:1(0)');
    expect(rig.drops).toEqual({ 'flow-table-full': 1 });
  });

  test('is reset when its source has as many connections as it may', () => {
    const rig = pressed({ limits: { flowsPerSource: 1 } });
    const [first, second] = [40_001, 40_002].map((port) => rig.newPeer({ port }));
    for (const client of [first, second]) {
      client?.sends(rig.synLine);
      client?.expects('S. 0:0(0) ack 1');
    }
    first?.sends('. 1:1(0) ack 1 win 512');
    second?.sends('. 1:1(0) ack 1 win 512');
    second?.expects('R 1:1(0)');
    expect(rig.drops).toEqual({ 'flow-source-limit': 1 });
    // A SYN gets no cookie that would come to nothing.
    const third = rig.newPeer({ port: 40_003 });
    third.sends(rig.synLine);
    third.expectsNothing();
  });

  test('is reset while the gateway drains', () => {
    const rig = withCookie();
    rig.stack.drain();
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.peer.expects('R 1:1(0)');
    expect(rig.drops).toEqual({ draining: 1 });
  });
});

describe('a client that waits behind its cookie', () => {
  test('may send, and its bytes and FIN reach the owner in order once it accepts', () => {
    const rig = proved();
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.sends('F. 101:101(0) ack 1 win 512');
    rig.peer.expects('. 1:1(0) ack 102');
    expect(rig.flow.calls).toEqual(['syn']);
    rig.accept();
    expect(rig.flow.calls).toEqual(['syn', 'established', 'data 100', 'fin']);
    rig.send(10);
    rig.close();
    rig.peer.expects('P. 1:11(10) ack 102');
    rig.peer.expects('F. 11:11(0) ack 102');
    rig.peer.sends('. 102:102(0) ack 12 win 512');
    expect(rig.flow.calls.at(-1)).toBe('closed eof by client');
    rig.expectEmpty();
  });

  test('that sends segments out of order gets them in order', () => {
    const rig = proved();
    rig.peer.sends('P. 101:201(100) ack 1 win 512');
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.accept();
    expect(rig.flow.received).toBe(200);
  });

  for (const how of ['rst', 'icmp', 'drop'] as const) {
    test(`is reset when the verdict is ${how}`, () => {
      const rig = proved();
      rig.peer.sends('P. 1:101(100) ack 1 win 512');
      rig.peer.readAll();
      rig.stack.reject(rig.row, how, 0, CloseReason.REJECTED, ClosedBy.SCRIPT, rig.now);
      rig.peer.expects('R. 1:1(0) ack 101');
      expect(rig.flow.calls).toEqual(['syn', 'closed rejected by script']);
      rig.expectEmpty();
    });
  }

  test('may be rejected inside onFlow', () => {
    const rig = withCookie();
    rig.owner.reactions.syn = (row, now) =>
      rig.stack.reject(row, 'rst', 0, CloseReason.REJECTED, ClosedBy.SCRIPT, now);
    rig.peer.sends('P. 1:101(100) ack 1 win 512');
    rig.peer.expects('R. 1:1(0) ack 1');
    rig.expectEmpty();
  });

  test('that resets is gone', () => {
    const rig = proved();
    rig.peer.sends('R. 1:1(0) ack 1');
    expect(rig.flow.calls).toEqual(['syn', 'closed client-reset by client']);
    rig.expectEmpty();
  });

  test('is held to the deadline of the decision', () => {
    const rig = proved();
    rig.stack.setDeadline(rig.row, rig.clock.in(3000));
    rig.wait(3010);
    expect(rig.flow.calls).toEqual(['syn', 'deadline']);
  });

  test('is subject to the idle timeout once it is open', () => {
    const rig = proved();
    const { stack } = rig;
    stack.arena.view.setUint32(stack.rowAt(rig.row) + 152, 5000, true);
    rig.wait(20_000);
    expect(rig.state).toBe('ESTABLISHED');
    rig.accept();
    rig.wait(4900);
    expect(rig.flow.calls).toEqual(['syn', 'established']);
    rig.wait(200);
    expect(rig.flow.calls.at(-1)).toBe('closed idle by gateway');
  });

  test('is reset by a data plane that takes the memory over', () => {
    const rig = proved();
    const next = new TcpRig({ memory: rig.memory });
    expect(next.leftovers).toHaveLength(1);
    expect(next.frames).toHaveLength(1);
  });
});

/** A SYN from `source`. */
const syn = (port: number, source: string) =>
  tcpPacket({
    source,
    destination: '198.18.0.80',
    sourcePort: port,
    destinationPort: 443,
    flags: SYN,
    seq: port,
  });

test('the row of a client that came back says that it was answered with a cookie', () => {
  const rig = proved();
  rig.accept();
  const flow = readFlowRow(rig.stack.arena.view, rig.stack.rowAt(rig.row));
  expect(flow?.handshake).toBe('cookie');
});
