import { expect, test } from 'bun:test';
import { DeviceEvents } from '../../../../src/gateway/supervisor/device/device-events.ts';

const STATE = { name: 'x0', isUp: true, mtu: 1500, txQueueLength: 9, isHere: true, index: 3 };

const names = (text = '') => [...text.matchAll(/^event: (.*)$/gm)].map(([, name]) => name);

test('whoever listens is told what happens from now on, in order', async () => {
  const events = new DeviceEvents();
  events.add('up', STATE);
  const reader = events.listen(undefined);
  const first = reader.next();
  events.add('mtu', { ...STATE, mtu: 1400 });
  expect(await first).toBe(
    `id: ${events.session}-2\nevent: mtu\ndata: ${JSON.stringify({
      event: 'mtu',
      time: new Date(events.last[1]!.at).toISOString(),
      device: { name: 'x0', up: true, mtu: 1400, tx_queue_length: 9, here: true },
    })}\n\n`,
  );
  events.add('down', STATE);
  events.add('up', STATE);
  expect(names(await reader.next())).toEqual(['down', 'up']);
  reader.close();
  expect(await reader.next()).toBeUndefined();
});

test('whoever comes back goes on where it left, and is told of a gap', async () => {
  const events = new DeviceEvents();
  for (let i = 0; i < 3; i++) events.add(`e${i}`, STATE);
  expect(names(await events.listen(`${events.session}-1`).next())).toEqual(['e1', 'e2']);
  expect(names(await events.listen('older-77').next())).toEqual(['e0', 'e1', 'e2']);
  for (let i = 3; i < 150; i++) events.add(`e${i}`, STATE);
  const text = await events.listen(`${events.session}-1`).next();
  expect(names(text).slice(0, 2)).toEqual(['dropped', 'e50']);
  expect(text).toContain('"count":49');
});

test('silence is broken now and then, an end is an end, and there are 16 at most', async () => {
  const events = new DeviceEvents();
  const bored = events.listen(undefined, 1);
  expect(await bored.next()).toBe(': keep-alive\n\n');
  bored.close();
  const readers = Array.from({ length: 16 }, () => events.listen(undefined));
  expect(() => events.listen(undefined)).toThrow('16 clients listen');
  const waiting = readers[0]!.next();
  events.close();
  expect(await waiting).toBeUndefined();
  events.listen(undefined);
});
