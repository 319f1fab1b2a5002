import { beforeEach, describe, expect, test } from 'bun:test';
import type { Hono } from 'hono';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

let plane: FakePlane;
let api: Hono;
beforeEach(() => {
  plane = fakePlane();
  api = apiOf(plane);
});

const swap = (body: unknown) =>
  api.request('/v1/device/swap', {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json' },
  });

test('the device is shown', async () => {
  const answer = await api.request('/v1/device');
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({ name: 'x0', up: true, mtu: 1500, offload: true });
});

test('what happens to it is a stream of events', async () => {
  const answer = await api.request('/v1/device/events');
  expect(answer.headers.get('Content-Type')).toBe('text/event-stream');
  const reader = answer.body!.getReader();
  const first = reader.read();
  const state = { name: 'x0', isUp: false, mtu: 1500, txQueueLength: 9, isHere: true, index: 3 };
  plane.deviceEvents.add('down', state);
  expect(new TextDecoder().decode((await first).value)).toContain('event: down\n');
  await reader.cancel();
  expect((await api.request('/v1/device/events', { method: 'HEAD' })).status).toBe(200);
});

describe('a swap', () => {
  test('goes to a device of the same name, or of another', async () => {
    expect((await swap({})).status).toBe(200);
    expect((await swap({ name: 'other0' })).status).toBe(200);
    expect(plane.swapped).toEqual([undefined, 'other0']);
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
