import { expect, test } from 'bun:test';
import { DeviceEvents } from '../../../../src/gateway/supervisor/device/device-events.ts';

const STATE = { name: 'x0', isUp: true, mtu: 1500, txQueueLength: 9, isHere: true, index: 3 };

test('the last hundred are kept, in order, and all are counted and told', () => {
  const events = new DeviceEvents();
  const told: string[] = [];
  events.onAdded = (event, { mtu }) => told.push(`${event} ${mtu}`);
  events.add('up', STATE);
  for (let i = 0; i < 120; i++) events.add('mtu', { ...STATE, mtu: 1280 + i });
  expect(events.last).toHaveLength(100);
  expect(events.last[0]).toMatchObject({ number: 22, event: 'mtu', state: { mtu: 1300 } });
  expect(events.last.at(-1)).toMatchObject({ number: 121, state: { mtu: 1399 } });
  expect([...events.counts]).toEqual([
    ['up', 1],
    ['mtu', 120],
  ]);
  expect([told.length, told[0], told.at(-1)]).toEqual([121, 'up 1500', 'mtu 1399']);
});

test('each changes the tag of the device', () => {
  const events = new DeviceEvents();
  const before = events.etag;
  expect(events.etag).toBe(before);
  events.add('down', STATE);
  expect(events.etag).not.toBe(before);
  expect(events.etag).toMatch(/^"[0-9a-z]+-1"$/);
});
