import { beforeEach, describe, expect, test } from 'bun:test';
import type { Hono } from 'hono';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

let plane: FakePlane;
let api: Hono;
beforeEach(() => {
  plane = fakePlane();
  api = apiOf(plane);
});

const swap = (body: unknown, tag: string | undefined = '*') =>
  api.request('/v1/device/swap', {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json', ...(tag !== '' && { 'If-Match': tag }) },
  });
const tagNow = async () => (await api.request('/v1/device')).headers.get('ETag') ?? '';

test('the device is shown', async () => {
  const answer = await api.request('/v1/device');
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({ name: 'x0', up: true, mtu: 1500, offload: true });
});

describe('a swap', () => {
  test('goes to a device of the same name, or of another', async () => {
    expect((await swap({})).status).toBe(200);
    expect((await swap({ name: 'other0' })).status).toBe(200);
    expect(plane.swapped).toEqual([undefined, 'other0']);
  });

  test('starts from what was read: of two who read the same, one wins', async () => {
    const tag = await tagNow();
    const answers = await Promise.all([swap({}, tag), swap({ name: 'other0' }, tag)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412]);
    expect(plane.swapped).toHaveLength(1);
    expect(answers.find(({ status }) => status === 200)?.headers.get('ETag')).toBe(await tagNow());
    expect((await swap({}, await tagNow())).status).toBe(200);
  });

  test('with a body that is not said to be JSON is refused', async () => {
    const send = (body?: string, type?: string) =>
      api.request('/v1/device/swap', {
        method: 'POST',
        ...(body === undefined ? {} : { body: Buffer.from(body) }),
        headers: { 'If-Match': '*', ...(type !== undefined && { 'Content-Type': type }) },
      });
    expect((await send('{"name":"other0"}', 'application/x-www-form-urlencoded')).status).toBe(415);
    expect((await send('{"name":"other0"}')).status).toBe(415);
    expect(plane.swapped).toEqual([]);
    expect((await send()).status).toBe(200);
    expect((await send('{"name":"other0"}', 'application/json; charset=utf-8')).status).toBe(200);
    expect(plane.swapped).toEqual([undefined, 'other0']);
  });

  test('without If-Match is refused with 428, and says where to find one', async () => {
    const answer = await swap({}, '');
    expect(answer.status).toBe(428);
    expect(await answer.text()).toContain('GET /v1/device');
    expect((await swap({}, 'unquoted')).status).toBe(400);
    expect(plane.swapped).toEqual([]);
  });

  test('that the kernel refuses is 422 with its reason; 503 when nobody takes it', async () => {
    const refused = await swap({ name: 'taken0' });
    expect(refused.status).toBe(422);
    expect(await refused.json()).toMatchObject({ detail: 'ioctl on taken0: EBUSY' });
    expect((await swap({ name: 'later0' })).status).toBe(503);
    expect(plane.swapped).toEqual([]);
  });

  test.each([{ name: 'fd://3' }, { name: 'sixteen-bytes-aa' }, { name: '' }, { mtu: 9 }])(
    'to %p is 400',
    async (body) => {
      expect((await swap(body)).status).toBe(400);
      expect(plane.swapped).toEqual([]);
    },
  );
});
