import { expect, test } from 'bun:test';
import { parseConfig } from '../../../src/gateway/config/load.ts';
import { toLiveConfig, toPlaneBounds, toStartConfig } from '../../../src/gateway/config/plane.ts';
import {
  boundsOfQueue,
  liveOfQueue,
  queueLimits,
  startOfQueue,
} from '../../../src/gateway/config/queues.ts';
import { stateLimits } from '../../../src/gateway/config/schema.ts';

const DEVICE = { name: 'x0', mtu: 1500, vnetHeader: true, offloads: 0 };
const THREE = `
device: { queues: 3 }
limits: { flows: 1000, heldSyns: 100, sessions: 90, claims: 10, slabBytes: 64MiB }
nat: { addresses: [192.0.2.1], ports: '1000-1999' }
`;

test('one data plane has all that the configuration allows', () => {
  const config = parseConfig('', 'c');
  const live = toLiveConfig(config, 1);
  const start = toStartConfig(config, DEVICE);
  expect(queueLimits(config)).toEqual(stateLimits(config));
  expect(liveOfQueue(live, 0, 1)).toEqual(live);
  expect(startOfQueue(start, { index: 0, count: 1, hashSecret: [1, 2] })).toEqual(start);
  const bounds = toPlaneBounds(config);
  expect(boundsOfQueue(bounds, 1)).toEqual(bounds);
});

test('several share it, and together have no less', () => {
  const config = parseConfig(THREE, 'c');
  expect(queueLimits(config)).toMatchObject({
    flows: 334,
    flowsPerSource: 222,
    heldSyns: 34,
    synCookiesFrom: 17,
  });
  const queue = { index: 1, count: 3, hashSecret: [1, 2] } as const;
  const start = startOfQueue(toStartConfig(config, DEVICE), queue);
  expect(start).toMatchObject({ queue, limits: { flows: 334 } });
  const bounds = boundsOfQueue(toPlaneBounds(config), 3);
  expect(bounds).toMatchObject({ claims: 4, sessions: { limit: 30 }, limits: { flows: 334 } });
});

test('the slabs of a queue are enough for one flow', () => {
  const text = 'device: { queues: 16 }\nlimits: { slabBytes: 8MiB, slabBytesPerFlow: 4MiB }';
  const config = parseConfig(text, 'c');
  expect(queueLimits(config).slabBytes).toBe(4 * 1024 * 1024);
});

test('no port of the pool belongs to two queues, and none to nobody', () => {
  const live = toLiveConfig(parseConfig(THREE, 'c'), 1);
  const ports = [0, 1, 2].map((index) => liveOfQueue(live, index, 3).nat.ports);
  expect(ports).toEqual([
    [1000, 1332],
    [1333, 1665],
    [1666, 1999],
  ]);
  // Each gives one source two thirds of what it has.
  expect(liveOfQueue(live, 0, 3).nat.portsPerSource).toBe(222);
});
