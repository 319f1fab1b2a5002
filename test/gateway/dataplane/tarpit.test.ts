/** Clients that are answered, and then held with a window that never opens. */
import { describe, expect, test } from 'bun:test';
import { monotonicNow } from '../../../src/ffi/clock.ts';
import { Counter } from '../../../src/stack/counters.ts';
import { after, seconds } from '../../../src/stack/time.ts';
import { DataPlaneRig } from '../../support/dataplane-rig.ts';

const TRAP = '{ name: trap, ports: 443, action: reject, with: tarpit }';
const COUNTERS = [Counter.TARPIT_NOW, Counter.TARPIT_TOTAL, Counter.TARPIT_REFUSED];

const rigWith = (config = '') =>
  new DataPlaneRig({ port: 1, config: `timeouts: {keepalive: 0s, tarpit: 30m}\n${config}` });
const counts = (rig: DataPlaneRig) => COUNTERS.map((counter) => rig.counters.get(counter));

/** A client that is held, after its handshake. */
function held(rig: DataPlaneRig, peer = rig.peer): number {
  const row = rig.reject('tarpit', peer);
  peer.expects('S. 0:0(0) ack 1 win 0');
  peer.sends('. 1:1(0) ack 1 win 512');
  return row;
}

describe('the window', () => {
  test('is zero from the SYN-ACK on, and probes with and without a byte are told so', () => {
    using rig = rigWith();
    held(rig);
    rig.peer.expectsNothing();
    for (let probe = 0; probe < 3; probe++) {
      rig.peer.sends('. 1:2(1) ack 1 win 512');
      rig.turn();
      rig.peer.expects('. 1:1(0) ack 1 win 0');
    }
    rig.peer.sends('. 0:0(0) ack 1 win 512');
    rig.turn();
    rig.peer.expects('. 1:1(0) ack 1 win 0');
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('takes no bytes of a client that does not care, in order or early', () => {
    using rig = rigWith();
    const row = held(rig);
    for (const from of [1, 5000, 1]) {
      rig.peer.sends(`P. ${from}:${from + 1000}(1000) ack 1 win 512`);
      rig.turn();
    }
    expect(rig.row(row)).toMatchObject({ phase: 'open', bytesUp: 0, bytesDown: 0 });
    expect(rig.stack.slabs.bytesUsed).toBe(0);
  });

  test('has no room for a FIN, which is answered, and the client stays', () => {
    using rig = rigWith();
    const row = held(rig);
    rig.peer.sends('F. 1:1(0) ack 1 win 512');
    rig.turn();
    rig.peer.expects('. 1:1(0) ack 1 win 0');
    expect(rig.row(row)).toMatchObject({ phase: 'open', tcpState: 'ESTABLISHED' });
  });
});

describe('a client that is held', () => {
  test('shows as rejected, by whom, and where it is', () => {
    using rig = rigWith();
    const row = held(rig);
    expect(rig.row(row)).toMatchObject({
      ...{ verdict: 'reject', decider: 'script', service: 'tarpit', handshake: 'accept-first' },
      ...{ closeReason: 'tarpit', closedBy: 'script' },
    });
    expect(counts(rig)).toEqual([1, 1, 0]);
  });

  test('may go by a reset, and its place is free again', () => {
    using rig = rigWith('limits: {tarpit: 1}');
    held(rig);
    rig.peer.sends('R 1:1(0) win 0');
    expect(rig.ended).toEqual(['tarpit']);
    expect(counts(rig)).toEqual([0, 1, 0]);
    held(rig, rig.newPeer({ port: 40_001 }));
    expect(counts(rig)).toEqual([1, 2, 0]);
  });

  test('is reset when its time is over, which nothing that it sends puts off', () => {
    using rig = rigWith();
    held(rig);
    rig.stack.expire(after(monotonicNow(), seconds(29 * 60)));
    rig.peer.sends('P. 1:100(99) ack 1 win 512');
    rig.turn();
    rig.peer.expects('. 1:1(0) ack 1 win 0');
    rig.stack.expire(after(monotonicNow(), seconds(31 * 60)));
    rig.peer.expects('R. 1:1(0) ack 1');
    expect(rig.ended).toEqual(['tarpit']);
    expect(rig.flows).toBe(0);
  });

  test('outlives another configuration, and a listener that is gone', () => {
    using rig = rigWith(`listeners: [${TRAP}]`);
    rig.peer.sends('S 0:0(0) win 65535 <mss 1460,sackOK,nop,wscale 7>');
    rig.peer.expects('S. 0:0(0) ack 1 win 0');
    rig.peer.sends('. 1:1(0) ack 1 win 512');
    rig.configure('limits: {tarpit: 0}');
    expect(rig.row(0)).toMatchObject({ decider: 'listener', closedBy: 'gateway' });
    expect(counts(rig)).toEqual([1, 1, 0]);
  });

  test('that never finished its handshake was not held', () => {
    using rig = rigWith();
    rig.reject('tarpit');
    rig.peer.expects('S. 0:0(0) ack 1 win 0');
    rig.peer.sends('R 1:1(0) win 0');
    expect(rig.ended).toEqual(['client-reset']);
    expect(counts(rig)).toEqual([0, 1, 0]);
  });
});

describe('a client more', () => {
  test('than may be held is reset', () => {
    using rig = rigWith('limits: {tarpit: 1}');
    held(rig);
    const other = rig.newPeer({ port: 40_001 });
    rig.reject('tarpit', other);
    other.expects('R. 0:0(0) ack 1');
    expect(rig.endedRows[0]).toMatchObject({ verdict: 'reject', closeReason: 'limit' });
    expect(counts(rig)).toEqual([1, 1, 1]);
  });

  test('than none is reset at once', () => {
    using rig = rigWith('limits: {tarpit: 0}');
    rig.reject('tarpit');
    rig.peer.expects('R. 0:0(0) ack 1');
  });

  test('during a drain is reset, and those that were held are too', () => {
    using rig = rigWith();
    held(rig);
    rig.tarpit.drain(monotonicNow());
    rig.peer.expects('R. 1:1(0) ack 1');
    expect(rig.flows).toBe(0);
    const late = rig.newPeer({ port: 40_001 });
    rig.reject('tarpit', late);
    late.expects('R. 0:0(0) ack 1');
    expect(rig.ended).toEqual(['tarpit', 'drain']);
  });
});

test('IPv6 is held as IPv4 is', () => {
  using rig = rigWith();
  const peer = rig.newPeer({ address: 'fd00::1', serverAddress: '2001:db8::80' });
  held(rig, peer);
  peer.sends('. 1:2(1) ack 1 win 512');
  rig.turn();
  peer.expects('. 1:1(0) ack 1 win 0');
});
