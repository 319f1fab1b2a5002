/** The event stream over a socket: what a fetch inside of the process would not show. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { everyFlow } from '../../../../src/gateway/flow-filter/parse.ts';
import { listen } from '../../../../src/gateway/supervisor/api/listen.ts';
import type { ApiServer } from '../../../../src/gateway/supervisor/api/transport/server.ts';
import { TooManyReadersError } from '../../../../src/gateway/supervisor/flows/flow-events.ts';
import { RawClients } from '../../../support/raw-clients.ts';
import { until } from '../support.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

const path = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'admin.sock');
let plane: FakePlane;
let server: ApiServer;
const clients = new RawClients();

beforeEach(() => {
  plane = fakePlane();
});
beforeAll(async () => {
  server = await listen({ kind: 'unix', path }, (request) => apiOf(plane).fetch(request));
});
afterEach(() => {
  clients.destroy();
  plane.flows.close();
});
afterAll(() => server.stop());

/** A client that asked for events. */
const client = (query = '', headers = '') =>
  clients.open({ path }, `GET /v1/events${query} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);

/** A row that ended, `count` times. */
function end(count: number): void {
  const row = plane.memory.rowBytes(4).slice();
  for (let i = 0; i < count; i++) plane.flows.takeEnded(row, false);
}

/** How many listen now: as many as are missing where there is room for 16. */
function listeners(): number {
  const readers: { close(): void }[] = [];
  try {
    for (;;) readers.push(plane.flows.listen({ filter: everyFlow, names: new Set() }));
  } catch (error) {
    if (!(error instanceof TooManyReadersError)) throw error;
    for (const reader of readers) reader.close();
    return 16 - readers.length;
  }
}

test('a client gets the head at once, and then what happens', async () => {
  const seen = client('?type=destroy&filter=proto%3Dudp');
  await until(() => seen.text.includes('retry: '), 'the greeting');
  expect(seen.text).toContain('content-type: text/event-stream');
  end(1);
  await until(() => seen.text.includes('event: DESTROY'), 'the event');
  expect(seen.text).toMatch(/id: \w+-1\nevent: DESTROY\ndata: \{.*"id":"c".*\}\n\n/);
});

test('a client that does not read is not queued for, and told later what it missed', async () => {
  const seen = client();
  await until(() => seen.text.includes('retry: '), 'the greeting');
  seen.socket.pause();
  const events = 60_000;
  for (let i = 0; i < events / 100; i++) {
    end(100);
    await Bun.sleep(0);
  }
  seen.socket.resume();
  end(1);
  await until(() => seen.text.includes(`-${events + 1}\n`), 'the last event');
  const missed = Number(/"reader-too-slow","count":(\d+)/.exec(seen.text)?.[1]);
  const got = seen.text.match(/^event: DESTROY$/gm)?.length ?? 0;
  expect(missed + got).toBe(events + 1);
  // The ring has 16,384 places; beyond it there is what the socket itself keeps.
  expect(got).toBeLessThan(events / 2);
}, 30_000);

test('a client that goes is forgotten', async () => {
  const seen = [client(), client()];
  await until(() => seen.every(({ text }) => text.includes('retry: ')), 'the greetings');
  expect(listeners()).toBe(2);
  seen[0]?.socket.destroy();
  await until(() => listeners() === 1, 'the first to be forgotten');
});

test('a client that goes before it has read anything is forgotten', async () => {
  for (let i = 0; i < 40; i++) {
    const { socket } = client();
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.destroy();
  }
  await until(() => listeners() === 0, 'all to be forgotten');
});

test('one client too many is refused, and a HEAD listens to nothing', async () => {
  const ask = (method: string) => fetch('http://x/v1/events', { unix: path, method });
  for (let i = 0; i < 20; i++) expect((await ask('HEAD')).status).toBe(200);
  const seen = Array.from({ length: 16 }, () => client());
  await until(() => seen.every(({ text }) => text.includes('retry: ')), 'the greetings');
  expect((await ask('GET')).status).toBe(429);
});

test('a client hears of the gateway, unless it filters flows, and goes on later', async () => {
  const seen = client();
  const filtered = client('?filter=proto%3Dudp');
  const chosen = client('?type=reload');
  await until(
    () => [seen, filtered, chosen].every(({ text }) => text.includes('retry: ')),
    'heads',
  );
  await fetch('http://x/v1/log-level?level=warn', { unix: path, method: 'PUT' });
  end(1);
  plane.notices.tell('RELOAD', { result: 'ok' });
  await until(() => chosen.text.includes('event: RELOAD'), 'the reload');
  await until(() => filtered.text.includes('event: DESTROY'), 'the flow');
  await until(() => seen.text.includes('event: RELOAD'), 'the reload');
  expect(seen.text).toMatch(/event: AUDIT\ndata: \{.*"uid":\d+,.*"path":"\/v1\/log-level"/);
  expect(filtered.text).not.toMatch(/AUDIT|RELOAD/);
  expect(chosen.text).not.toMatch(/AUDIT|DESTROY/);
  const [, id = ''] = /id: (\S+)\nevent: AUDIT/.exec(seen.text) ?? [];
  const again = client('', `Last-Event-ID: ${id}\r\n`);
  await until(() => again.text.includes('event: RELOAD'), 'what was missed');
  expect(again.text).toContain('event: DESTROY');
  expect(again.text).not.toMatch(/AUDIT|unknown-last-event-id/);
});

test.each(['?type=BIRTH', '?filter=x', '?type='])('%s is refused', async (query) =>
  expect((await fetch(`http://x/v1/events${query}`, { unix: path })).status).toBe(400),
);
