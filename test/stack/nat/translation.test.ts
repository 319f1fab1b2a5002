/** Where a verdict sends a flow, and who is let in by a mapped port. */
import { expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { FlowField, TrackBit } from '../../../src/stack/flow-row.ts';
import { CLIENT, POOL, SERVER, TrackRig } from '../../support/track-rig.ts';

const bitsOf = (rig: TrackRig, row = 0): number =>
  rig.arena.view.getUint8(rig.flows.rowAt(row) + FlowField.TRACK_BITS) &
  (TrackBit.SOURCE_NAT | TrackBit.DESTINATION_NAT);

test('without a target a flow goes on to its destination', () => {
  const rig = new TrackRig();
  rig.clientUdp({ destinationPort: 443 });
  expect(rig.last).toBe(`${POOL}:40000 > ${SERVER}:443`);
  expect(bitsOf(rig)).toBe(TrackBit.SOURCE_NAT);
  expect(rig.flow()).toMatchObject({
    carrier: 'nat',
    upstream: { ip: SERVER, port: 443 },
    natSource: { ip: POOL, port: 40_000 },
  });
});

test('a target may leave the port as it is', () => {
  const rig = new TrackRig();
  rig.to = { ip: '10.9.9.9', port: 0 };
  rig.clientUdp({ destinationPort: 443 });
  expect(rig.last).toBe(`${POOL}:40000 > 10.9.9.9:443`);
  expect(bitsOf(rig)).toBe(TrackBit.SOURCE_NAT | TrackBit.DESTINATION_NAT);
  rig.upstreamUdp();
  expect(rig.last).toBe(`${SERVER}:443 > ${CLIENT}:40000`);
});

test('a flow that is only watched is not rewritten', () => {
  const rig = new TrackRig();
  rig.masquerade = false;
  rig.clientUdp();
  expect(rig.last).toBe(`${CLIENT}:40000 > ${SERVER}:53`);
  expect(bitsOf(rig)).toBe(0);
  expect(rig.flow().natSource).toBeUndefined();
  rig.upstreamUdp();
  expect(rig.last).toBe(`${SERVER}:53 > ${CLIENT}:40000`);
});

test('the port of a target means nothing to an echo', () => {
  const rig = new TrackRig();
  rig.to = { ip: '10.9.9.9', port: 80 };
  rig.icmp({ source: CLIENT, destination: SERVER, type: 8, rest: 0x0007_0001 });
  expect(rig.last).toBe(`${POOL} > 10.9.9.9`);
  rig.icmp({ source: '10.9.9.9', destination: POOL, type: 0, rest: 0x0007_0001 });
  expect(rig.last).toBe(`${SERVER} > ${CLIENT}`);
});

test('a target of the other family does not fit', () => {
  const rig = new TrackRig();
  rig.to = { ip: '2001:db8::1', port: 80 };
  expect(rig.clientUdp()).toBe('verdict-unfit');
});

test('a source has as many flows as it may, and others have theirs', () => {
  const rig = new TrackRig({ settings: { perSource: 2 } });
  const flow = (sourcePort: number): string => rig.clientUdp({ sourcePort });
  expect([flow(1), flow(2), flow(3)]).toEqual(['none', 'none', 'limit']);
  expect(rig.clientUdp({ source: '10.0.0.8' })).toBe('none');
  rig.pass(31);
  expect(flow(1)).toBe('none');
});

test('an address of the pool where nobody is mapped leads nowhere', () => {
  const rig = new TrackRig();
  expect(rig.clientUdp({ destination: POOL, destinationPort: 5000 })).toBe('dial-loop');
  rig.to = { ip: POOL, port: 5000 };
  expect(rig.clientUdp()).toBe('dial-loop');
  expect(rig.icmp({ source: CLIENT, destination: POOL, type: 8 })).toBe('dial-loop');
});

test('RFC 4787 REQ-9: clients reach each other by their mapped ends', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000 });
  rig.clientUdp({ source: '10.0.0.8', sourcePort: 6000 });
  // 10.0.0.8 calls the first client by what a rendezvous server has seen of it.
  rig.masquerade = false;
  const call = { source: '10.0.0.8', sourcePort: 6000, destination: POOL, destinationPort: 5000 };
  expect(rig.clientUdp(call)).toBe('none');
  // REQ-9 (a): the callee sees the mapped end of the caller.
  expect(rig.last).toBe(`${POOL}:6000 > ${CLIENT}:5000`);
  expect(rig.clientUdp({ sourcePort: 5000, destination: POOL, destinationPort: 6000 })).toBe(
    'none',
  );
  expect(rig.last).toBe(`${POOL}:5000 > 10.0.0.8:6000`);
  expect(rig.flows.used).toBe(3);
});

test('a client may call from a port that was not mapped before', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000 });
  rig.clientUdp({ source: '10.0.0.8', sourcePort: 6000 });
  const call = { source: '10.0.0.8', sourcePort: 7000, destination: POOL, destinationPort: 5000 };
  expect(rig.clientUdp(call)).toBe('none');
  expect(rig.last).toBe(`${POOL}:7000 > ${CLIENT}:5000`);
});

test('whoever is no client gets in by the tuple of a reply only', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000 });
  const stranger = { destination: POOL, destinationPort: 5000 };
  expect(rig.clientUdp({ ...stranger, source: '203.0.113.5' })).toBe('dial-loop');
  expect(rig.clientUdp({ ...stranger, source: SERVER, sourcePort: 99 })).toBe('dial-loop');
  expect(rig.clientUdp({ ...stranger, source: SERVER, sourcePort: 53 })).toBe('none');
  // A port that is forwarded to a server makes no client of who calls it.
  rig.masquerade = false;
  rig.to = { ip: '10.0.0.9', port: 80 };
  rig.clientUdp({ source: '203.0.113.5', destination: '203.0.113.9' });
  rig.to = undefined;
  expect(rig.clientUdp({ ...stranger, source: '203.0.113.5' })).toBe('dial-loop');
});

test('another data plane takes the flows over, with their mappings', () => {
  const old = new TrackRig();
  old.clientUdp({ sourcePort: 5000 });
  old.clientUdp({ sourcePort: 5000, destinationPort: 54 });
  old.clientUdp({ source: '10.0.0.8', sourcePort: 5000 });
  const rig = new TrackRig({ after: old });
  for (const row of [0, 1, 2]) expect(rig.conntrack.adopt(row, rig.now)).toBe(true);
  rig.flows.continueAfter(3);
  expect(rig.counters.get(Counter.NAT_FLOWS_NOW)).toBe(3);
  expect(rig.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(2);
  expect(rig.upstreamUdp()).toBe('none');
  expect(rig.last).toBe(`${SERVER}:53 > ${CLIENT}:5000`);
  expect(rig.clientUdp({ sourcePort: 5000 })).toBe('none');
  expect(rig.last).toBe(`${POOL}:5000 > ${SERVER}:53`);
  expect(rig.clientUdp({ sourcePort: 5000, destinationPort: 55 })).toBe('none');
  expect(rig.last).toBe(`${POOL}:5000 > ${SERVER}:55`);
  expect(rig.flow(3).serial).toBe(4);
  rig.pass(130);
  for (let i = 0; i < 10; i++) {
    rig.conntrack.reap(rig.now);
    rig.pass(5);
  }
  expect(rig.flows.used).toBe(0);
  expect(rig.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(0);
});

test('a flow that expired while no data plane was there is lost', () => {
  const old = new TrackRig();
  old.clientUdp();
  old.pass(31);
  const rig = new TrackRig({ after: old });
  expect(rig.conntrack.adopt(0, rig.now)).toBe(false);
  expect(rig.flows.used).toBe(0);
});
