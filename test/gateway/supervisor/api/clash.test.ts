/** The routes that dashboards of Clash know, over HTTP and over WebSocket. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import type { Hono } from 'hono';
import { admin } from '../../../../src/gateway/config/admin-schema.ts';
import { accessRules, type Peer } from '../../../../src/gateway/supervisor/api/callers.ts';
import { viewLogLine } from '../../../../src/gateway/supervisor/api/clash-views.ts';
import { listen } from '../../../../src/gateway/supervisor/api/listen.ts';
import type { ApiServer } from '../../../../src/gateway/supervisor/api/transport/server.ts';
import { until } from '../support.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

const TOKEN = 'a-token-of-a-dashboard';
const PORT = 30_000 + (process.pid % 10_000);
const HOST = `127.0.0.1:${PORT}`;

let plane: FakePlane;
let api: Hono;
let server: ApiServer | undefined;
beforeEach(() => {
  plane = fakePlane();
  api = apiOf(plane);
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

test('flows are connections, with ports as text', async () => {
  const body = (await (await api.request('/connections')).json()) as { connections: object[] };
  expect(body).toMatchObject({ uploadTotal: 10, downloadTotal: 20 });
  expect(body.connections[0]).toEqual({
    id: 'a',
    metadata: expect.objectContaining({
      network: 'tcp',
      sourceIP: '10.0.0.1',
      destinationPort: '80',
      host: '',
    }),
    upload: expect.any(Number),
    download: expect.any(Number),
    start: expect.stringMatching(/^\d{4}-.*Z$/),
    chains: [expect.any(String)],
    rule: expect.any(String),
    rulePayload: expect.any(String),
  });
});

test('one is ended, and all are', async () => {
  const end = (path: string) => api.request(path, { method: 'DELETE' });
  expect((await end('/connections/a')).status).toBe(204);
  expect((await end('/connections/zz')).status).toBe(404);
  expect(plane.killed).toEqual([10]);
  expect((await end('/connections')).status).toBe(204);
  expect(plane.killed).toEqual([10, 10, 11, 12]);
});

test('are off unless they are wanted', async () => {
  plane.config.isClash = false;
  for (const path of ['/connections', '/traffic', '/logs', '/configs', '/proxies']) {
    const answer = await api.request(path);
    expect(answer.status).toBe(404);
    expect(await answer.text()).toContain('admin.clash');
  }
  expect((await api.request('/connections', { method: 'DELETE' })).status).toBe(404);
  expect(plane.killed).toEqual([]);
});

test('what dashboards ask for before they show anything is there', async () => {
  plane.logLevel.ask('warn', 0);
  const read = async (path: string) => (await api.request(path)).json();
  // yacd and metacubexd look at the status, zashboard at `mode`; then come these lists.
  expect(await read('/configs')).toEqual({
    mode: 'rule',
    'log-level': 'warning',
    'allow-lan': false,
    tun: { enable: true, device: 'x0' },
  });
  expect(await read('/version?token=')).toMatchObject({ version: expect.any(String) });
  expect(await read('/proxies')).toEqual({ proxies: {} });
  expect(await read('/providers/proxies')).toEqual({ providers: {} });
  expect(await read('/providers/rules')).toEqual({ providers: {} });
  expect(await read('/rules')).toEqual({ rules: [] });
  // Dashboards may change nothing here.
  expect((await api.request('/configs', { method: 'PATCH' })).status).toBe(405);
});

test('a line of the log is one of Clash, from a level on', () => {
  const line = '{"level":"warn","time":"x","msg":"flow","dst":"10.0.0.1"}';
  expect(viewLogLine(line, 'info')).toEqual({ type: 'warning', payload: 'flow dst="10.0.0.1"' });
  expect(viewLogLine(line, 'error')).toBeUndefined();
});

describe('a WebSocket', () => {
  beforeEach(async () => {
    plane.config.access = accessRules(
      admin.parse({ tokens: [{ name: 'look', token: TOKEN, scopes: ['read'] }] }),
      'c',
    );
    const tcp = { kind: 'tcp', ip: '127.0.0.1', port: PORT } as const;
    server = await listen(tcp, (request, env) => apiOf(plane).fetch(request, env));
  });

  function open(path: string, headers: Record<string, string>, protocols: string[] = []) {
    const socket = new WebSocket(`ws://${HOST}${path}`, { headers, protocols });
    const seen = { socket, messages: [] as string[], isClosed: false, protocol: '' };
    socket.onmessage = ({ data }) => void seen.messages.push(String(data));
    socket.onopen = () => {
      seen.protocol = socket.protocol;
    };
    socket.onclose = () => {
      seen.isClosed = true;
    };
    socket.onerror = () => undefined;
    return seen;
  }
  const bearer = { Authorization: `Bearer ${TOKEN}` };

  test('gets traffic by the second', async () => {
    const seen = open('/traffic', bearer);
    await until(() => seen.messages.length >= 2, 'two messages');
    expect(JSON.parse(seen.messages[1] ?? '')).toMatchObject({ up: 10, down: 20 });
    seen.socket.close();
    await until(() => seen.isClosed, 'the end');
  });

  test('gets connections as often as it likes', async () => {
    const seen = open('/connections?interval=100', bearer);
    await until(() => seen.messages.length >= 3, 'three messages');
    expect(JSON.parse(seen.messages[2] ?? '')).toMatchObject({ connections: { length: 3 } });
  });

  test('gets the log, and who goes is forgotten', async () => {
    const seen = open('/logs?level=warning', bearer);
    await until(() => seen.socket.readyState === WebSocket.OPEN, 'the handshake');
    plane.logTap.write('{"level":"info","msg":"quiet"}');
    plane.logTap.write(`{"level":"warn","msg":"${'loud'.repeat(20_000)}"}`);
    await until(() => seen.messages.length === 1, 'a message');
    expect(JSON.parse(seen.messages[0] ?? '')).toMatchObject({ type: 'warning' });
    expect(seen.messages[0]).toHaveLength('{"type":"warning","payload":""}'.length + 80_000);
  });

  test('of a browser offers its token as a protocol', async () => {
    const offered = `bearer.${Buffer.from(TOKEN).toString('base64url')}`;
    const seen = open('/traffic', { Origin: `http://${HOST}` }, ['culvert', offered]);
    await until(() => seen.messages.length > 0, 'a message');
    expect(seen.protocol).toBe('culvert');
  });

  test.each([
    ['without a token', {}, [], '/traffic'],
    ['with the token in its URL', {}, [], `/traffic?token=${TOKEN}`],
    ['with a wrong token', {}, ['culvert', 'bearer.d3Jvbmc'], '/traffic'],
    ['of a foreign page', { ...bearer, Origin: 'http://evil.example' }, [], '/traffic'],
    ['where nothing goes on', bearer, [], '/v1/status'],
    ['where something else goes on', bearer, [], '/v1/events'],
  ] as const)('%s is refused', async (_, headers, protocols, path) => {
    const seen = open(path, { ...headers }, [...protocols]);
    await until(() => seen.isClosed, 'the end');
    expect(seen.messages).toEqual([]);
  });
});

test('a page of this origin is let in only where dashboards are wanted', async () => {
  const tcp: Peer = { kind: 'tcp', address: '127.0.0.1:1' };
  const headers = { Host: HOST, Origin: `http://${HOST}` };
  const status = async () => (await apiOf(plane, tcp).request('/traffic', { headers })).status;
  expect(await status()).toBe(401);
  plane.config.isClash = false;
  expect(await status()).toBe(403);
});
