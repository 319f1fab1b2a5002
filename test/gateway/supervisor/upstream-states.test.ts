import { expect, test } from 'bun:test';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import type { UpstreamReport } from '../../../src/gateway/messages/upstreams.ts';
import { countUpstreams, UpstreamStates } from '../../../src/gateway/supervisor/upstream-states.ts';

const config = parseConfig(
  `upstreams:
  web: { addresses: [10.0.0.5:80, '[fd00::5]:80'], policy: failover }
  out: { proxy: 'socks5://ann:secret@10.0.0.3:1080' }
  wan: { interface: wg0, fwmark: 0x20 }
`,
  'c.yaml',
);

const webOf = (healthy: boolean, count: number): UpstreamReport => ({
  ...{ name: 'web', connects: count, failures: 1, connectUs: 500_000 },
  connectBuckets: [0, count, 1],
  addresses: [
    { address: '10.0.0.5:80', healthy, active: count, connects: count, failures: 0 },
    {
      ...{ address: '[fd00::5]:80', healthy: true, active: 0, connects: 0, failures: 1 },
      last_error: 'ECONNREFUSED',
    },
  ],
});

test('before anything is told all is healthy, and a password is never shown', () => {
  const states = new UpstreamStates().of(config);
  expect(states.map(({ name, kind, healthy }) => [name, kind, healthy])).toEqual([
    ['web', 'pool', true],
    ['out', 'proxy', true],
    ['wan', 'egress', true],
  ]);
  expect(JSON.stringify(states)).not.toContain('secret');
  expect(states[2]).toMatchObject({ interface: 'wg0', fwmark: 32, addresses: [] });
});

test('what the queues tell is summed, and one that leaves an address out is enough', () => {
  const upstreams = new UpstreamStates();
  upstreams.take(0, [webOf(true, 2)]);
  upstreams.take(1, [webOf(true, 9)]);
  upstreams.take(1, [webOf(false, 3)]);
  const [web] = upstreams.of(config);
  expect(web).toMatchObject({
    ...{ healthy: true, active: 5, connects: 5, failures: 2, connect_seconds: 1 },
    addresses: [
      { address: '10.0.0.5:80', healthy: false, active: 5 },
      { address: '[fd00::5]:80', healthy: true, last_error: 'ECONNREFUSED' },
    ],
  });
});

test('how long dials took is summed, bucket by bucket', () => {
  const upstreams = new UpstreamStates();
  upstreams.take(0, [webOf(true, 2)]);
  upstreams.take(1, [webOf(true, 3)]);
  const { bounds, counts, sum } = upstreams.connectTimes('web');
  expect(bounds.slice(0, 3)).toEqual([0.0001, 0.0003, 0.001]);
  expect(counts).toEqual([0, 5, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(sum).toBe(1);
  expect(upstreams.connectTimes('none').counts.every((count) => count === 0)).toBe(true);
});

test('one that has no address left is told as unhealthy', () => {
  const upstreams = new UpstreamStates();
  const address = { address: '10.0.0.3:1080', healthy: false, active: 0, connects: 0, failures: 3 };
  upstreams.take(0, [
    {
      name: 'out',
      connects: 0,
      failures: 3,
      connectUs: 0,
      connectBuckets: [],
      addresses: [address],
    },
  ]);
  expect(countUpstreams(upstreams.of(config))).toEqual({ total: 3, unhealthy: ['out'] });
});
