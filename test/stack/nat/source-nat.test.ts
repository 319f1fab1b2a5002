/** Which source the upstream sees. */
import { expect, test } from 'bun:test';
import { Counter } from '../../../src/stack/counters.ts';
import { CLIENT, POOL, SERVER, TrackRig } from '../../support/track-rig.ts';

const OTHER = '198.51.100.10';
const SCTP = 132;

test('a client keeps its port, and gets the same one for every upstream', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000 });
  expect(rig.last).toBe(`${POOL}:5000 > ${SERVER}:53`);
  rig.clientUdp({ source: '10.0.0.8', sourcePort: 5000 });
  const [mapped] = rig.last.split(' ');
  expect(mapped).not.toBe(`${POOL}:5000`);
  rig.clientUdp({ source: '10.0.0.8', sourcePort: 5000, destination: OTHER });
  expect(rig.last).toBe(`${mapped} > ${OTHER}:53`);
  expect(rig.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(2);
});

test('an end is mapped for each protocol by itself', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000 });
  rig.client({ source: '10.0.0.8', sourcePort: 5000, flags: 2 });
  expect(rig.last).toBe(`${POOL}:5000 > ${SERVER}:80`);
});

test('a mapping goes with its last flow', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000, destinationPort: 1 });
  rig.pass(20);
  rig.clientUdp({ sourcePort: 5000, destinationPort: 2 });
  rig.pass(20);
  rig.clientUdp({ source: '10.0.0.8', sourcePort: 5000, destinationPort: 1 });
  expect(rig.last).not.toStartWith(`${POOL}:5000 `);
  rig.pass(31);
  for (let i = 0; i < 10; i++) {
    rig.conntrack.reap(rig.now);
    rig.pass(5);
  }
  expect(rig.flows.used).toBe(0);
  rig.clientUdp({ source: '10.0.0.9', sourcePort: 5000, destinationPort: 1 });
  expect(rig.last).toBe(`${POOL}:5000 > ${SERVER}:1`);
});

test('an address that the pool has lost gets no new flow, and keeps those that it has', () => {
  const rig = new TrackRig();
  rig.clientUdp({ sourcePort: 5000 });
  rig.setPool(['192.0.2.2']);
  rig.clientUdp({ sourcePort: 5000, destination: OTHER });
  expect(rig.last).toBe(`192.0.2.2:5000 > ${OTHER}:53`);
  rig.clientUdp({ sourcePort: 5000 });
  expect(rig.last).toBe(`${POOL}:5000 > ${SERVER}:53`);
  // The mapping is the new one from now on, for all upstreams.
  rig.clientUdp({ sourcePort: 5000, destination: SERVER, destinationPort: 54 });
  expect(rig.last).toBe(`192.0.2.2:5000 > ${SERVER}:54`);
  expect(rig.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(2);
  for (let row = 0; row < 3; row++) rig.conntrack.end(row, 4, 3, rig.now);
  expect(rig.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(0);
});

test('flows of one client with two addresses are taken over with a mapping each', () => {
  const old = new TrackRig();
  old.clientUdp({ sourcePort: 5000 });
  old.setPool(['192.0.2.2']);
  old.clientUdp({ sourcePort: 5000, destination: OTHER });
  const rig = new TrackRig({ after: old, pool: [POOL, '192.0.2.2'] });
  for (const row of [0, 1]) expect(rig.conntrack.adopt(row, rig.now)).toBe(true);
  expect(rig.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(2);
  // Neither port is given to another client.
  for (const pool of [[POOL], ['192.0.2.2']]) {
    rig.setPool(pool);
    rig.clientUdp({
      source: '10.0.0.8',
      sourcePort: 5000,
      destination: '203.0.113.7',
      destinationPort: pool[0] === POOL ? 7 : 8,
    });
    expect(rig.last).not.toStartWith(`${pool[0]}:5000 `);
  }
});

test('when all ports are mapped, one serves flows of two clients to different upstreams', () => {
  const rig = new TrackRig({ settings: { firstPort: 5000, lastPort: 5000 } });
  expect(rig.clientUdp({ sourcePort: 5000 })).toBe('none');
  const second = { source: '10.0.0.8', sourcePort: 5000 };
  expect(rig.clientUdp({ ...second, destination: OTHER })).toBe('none');
  expect(rig.last).toBe(`${POOL}:5000 > ${OTHER}:53`);
  expect(rig.clientUdp(second)).toBe('nat-exhausted');
  // Each answer finds its client.
  rig.upstreamUdp();
  expect(rig.last).toBe(`${SERVER}:53 > ${CLIENT}:5000`);
  rig.upstreamUdp(rig.replyEnds(1));
  expect(rig.last).toBe(`${OTHER}:53 > 10.0.0.8:5000`);
});

test('RFC 6888 REQ-4: a client has as many ports of a protocol as it may', () => {
  const rig = new TrackRig({ settings: { portsPerSource: 2 } });
  const flow = (sourcePort: number, fields = {}) => rig.clientUdp({ sourcePort, ...fields });
  expect([flow(1), flow(2), flow(3)]).toEqual(['none', 'none', 'nat-port-limit']);
  // A port that it has leads anywhere; other protocols and other clients count by themselves.
  expect(flow(1, { destination: OTHER })).toBe('none');
  expect(rig.client({ sourcePort: 3, flags: 2 })).toBe('none');
  expect(flow(3, { source: '10.0.0.8' })).toBe('none');
  expect(rig.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(4);
  // The last flow of a port gives it back.
  rig.conntrack.end(1, 4, 3, rig.now);
  expect(flow(3)).toBe('none');
  expect(flow(4)).toBe('nat-port-limit');
});

test('all of an IPv6 /64 are one client', () => {
  const rig = new TrackRig({ pool: ['2001:db8::1'], settings: { portsPerSource: 2 } });
  const flow = (source: string) => rig.clientUdp({ source, destination: '2001:db8:9::9' });
  expect([1, 2, 3].map((i) => flow(`fd00:0:0:7::${i}`))).toEqual([
    'none',
    'none',
    'nat-port-limit',
  ]);
  expect(flow('fd00:0:0:8::1')).toBe('none');
});

test('ports of flows that are taken over count for their clients', () => {
  const old = new TrackRig();
  old.clientUdp({ sourcePort: 5000 });
  const rig = new TrackRig({ after: old, settings: { portsPerSource: 1 } });
  expect(rig.conntrack.adopt(0, rig.now)).toBe(true);
  expect(rig.clientUdp({ sourcePort: 5001 })).toBe('nat-port-limit');
});

test('a flow that was refused leaves nothing behind', () => {
  const rig = new TrackRig({ settings: { firstPort: 5000, lastPort: 5000 } });
  rig.clientUdp({ sourcePort: 5000 });
  rig.clientUdp({ source: '10.0.0.8', sourcePort: 5000 });
  expect(rig.flows.used).toBe(1);
  expect(rig.counters.get(Counter.NAT_MAPPINGS_NOW)).toBe(1);
  expect(rig.counters.get(Counter.NAT_FLOWS_NOW)).toBe(1);
});

test('a port whose flow has expired is free, though nobody has taken the flow out', () => {
  const rig = new TrackRig({ settings: { firstPort: 5000, lastPort: 5000 } });
  rig.clientUdp({ sourcePort: 5000 });
  rig.pass(31);
  expect(rig.clientUdp({ source: '10.0.0.8', sourcePort: 5000 })).toBe('none');
  expect(rig.last).toBe(`${POOL}:5000 > ${SERVER}:53`);
  expect(rig.closed).toEqual(['idle by gateway']);
});

test('without an address of the family nothing can be masqueraded', () => {
  const rig = new TrackRig();
  const v6 = { source: 'fd00::7', destination: '2001:db8::9' };
  expect(rig.clientUdp(v6)).toBe('nat-exhausted');
  rig.setPool(['2001:db8::1']);
  expect(rig.clientUdp(v6)).toBe('none');
  expect(rig.last).toBe('2001:db8::1:40000 > 2001:db8::9:53');
});

test('an identifier of an echo is preserved where it is free, outside of the range too', () => {
  const rig = new TrackRig();
  const ping = { destination: SERVER, type: 8, rest: 0x0007_0001 };
  rig.icmp({ source: CLIENT, ...ping });
  expect(rig.replyEnds(0).destinationPort).toBe(7);
  rig.icmp({ source: '10.0.0.8', ...ping });
  expect(rig.replyEnds(1).destinationPort).not.toBe(7);
});

test('a protocol without ports is translated for one client of an upstream at a time', () => {
  const rig = new TrackRig();
  const packet = (source: string): Uint8Array => {
    const bytes = new Uint8Array(40);
    bytes.set([0x45, 0, 0, 40, 0, 0, 0, 0, 64, SCTP]);
    bytes.set(source.split('.').map(Number), 12);
    bytes.set(SERVER.split('.').map(Number), 16);
    return bytes;
  };
  expect(rig.offer(packet(CLIENT))).toBe('none');
  expect(rig.last).toBe(`${POOL} > ${SERVER}`);
  expect(rig.offer(packet('10.0.0.8'))).toBe('nat-exhausted');
});

test('without masquerading the source stays, but for a port that would be ambiguous', () => {
  const rig = new TrackRig();
  rig.masquerade = false;
  rig.to = { ip: '10.9.9.9', port: 8080 };
  rig.client({ flags: 2, destinationPort: 80 });
  expect(rig.last).toBe(`${CLIENT}:40000 > 10.9.9.9:8080`);
  rig.client({ flags: 2, destinationPort: 81 });
  expect(rig.last).toStartWith(`${CLIENT}:`);
  expect(rig.last).not.toStartWith(`${CLIENT}:40000 `);
  // Both answers come back from where they were asked.
  rig.upstream({ flags: 0x12, ack: 2 });
  expect(rig.last).toBe(`${SERVER}:80 > ${CLIENT}:40000`);
  rig.upstream({ ...rig.replyEnds(1), flags: 0x12, ack: 2 });
  expect(rig.last).toBe(`${SERVER}:81 > ${CLIENT}:40000`);
});
