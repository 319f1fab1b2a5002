import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { readBlocks } from '../../../support/pcapng.ts';
import { until } from '../support.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

let plane: FakePlane;
beforeEach(() => {
  plane = fakePlane();
});
afterEach(() => plane.flows.close());

const get = async (query: string, init: RequestInit = {}): Promise<Response> =>
  apiOf(plane).request(`/v1/capture${query}`, init);

test('the file begins at once, and the data plane is told what is wanted', async () => {
  const response = await get('?filter=proto%3Dtcp&snaplen=100&drops=paws');
  expect(response.headers.get('content-type')).toBe('application/x-pcapng');
  const { value } = await response.body!.getReader().read();
  expect(readBlocks(value!).map(({ type }) => type)).toEqual([0x0a0d0d0a, 1]);
  expect(plane.captureOrders).toEqual([
    [{ slot: 0, number: 1, filter: 'proto=tcp', drops: 'paws', snapLength: 100 }],
  ]);
});

test('a flow is named by its id', async () => {
  await get('?flow=1a');
  expect(plane.captureOrders.at(-1)).toMatchObject([{ filter: 'id = 1a', snapLength: 262_144 }]);
});

test('a client that goes away ends it', async () => {
  const reader = (await get('')).body!.getReader();
  await reader.read();
  await reader.cancel();
  await until(() => plane.captureOrders.at(-1)?.length === 0, 'the capture to end');
});

test('time ends it, and the file with its statistics', async () => {
  const response = await get('?seconds=0.01');
  const blocks = readBlocks(new Uint8Array(await response.arrayBuffer()));
  expect(blocks.map(({ type }) => type)).toEqual([0x0a0d0d0a, 1, 5]);
});

test('HEAD begins none', async () => {
  expect((await get('', { method: 'HEAD' })).status).toBe(200);
  expect(plane.captureOrders).toEqual([]);
});

describe('refused, and nothing begins', () => {
  test.each([
    ['?filter=colour%3Dred', 400],
    ['?flow=A', 400],
    ['?flow=1a&filter=proto%3Dtcp', 400],
    ['?drops=whim', 400],
    ['?snaplen=1', 400],
    ['?count=-1', 400],
    ['?seconds=1e9', 400],
  ])('%s', async (query, status) => {
    expect((await get(query)).status).toBe(status);
    expect(plane.captureOrders).toEqual([]);
  });

  test('a fifth, while four run', async () => {
    for (let i = 0; i < 4; i++) await get('');
    expect((await get('')).status).toBe(429);
  });
});
