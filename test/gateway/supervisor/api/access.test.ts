import { beforeEach, describe, expect, test } from 'bun:test';
import type { Hono } from 'hono';
import { admin, SCOPES } from '../../../../src/gateway/config/admin-schema.ts';
import { ROUTE_SCOPES } from '../../../../src/gateway/supervisor/api/access.ts';
import { createApi } from '../../../../src/gateway/supervisor/api/app.ts';
import { accessRules, type Peer } from '../../../../src/gateway/supervisor/api/callers.ts';
import { createLogger } from '../../../../src/gateway/supervisor/log/logger.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

const TCP: Peer = { kind: 'tcp', address: '127.0.0.1:40000' };
const STRANGER = { kind: 'unix', pid: 7, uid: 1000, gid: 1000, groups: [] } as const;
const bearer = (scope: string) => ({ Authorization: `Bearer token-with-scope-${scope}` });

let plane: FakePlane;
let api: Hono;
beforeEach(() => {
  plane = fakePlane();
  const tokens = SCOPES.map((scope) => ({
    name: scope,
    token: `token-with-scope-${scope}`,
    scopes: [scope],
  }));
  plane.config.access = accessRules(admin.parse({ tokens }), 'c.yaml');
  api = apiOf(plane, TCP);
});

/** Every route as `GET /v1/flows/:id`, without middleware. */
function routes(): string[] {
  const silent = createLogger({ level: 'silent', format: 'json' });
  const own = createApi(plane, { log: silent, logTap: plane.logTap }).routes.filter(
    ({ method }) => method !== 'ALL',
  );
  return [...new Set(own.map(({ method, path }) => `${method} ${path}`))].sort();
}

test('every route is in the table of scopes, and every entry there is a route', () =>
  expect(Object.keys(ROUTE_SCOPES).sort()).toEqual(routes()));

test('what changes something is no scope of those who read', () => {
  const changing = Object.entries(ROUTE_SCOPES).filter(([route]) => !route.startsWith('GET '));
  const reading = changing.filter(([, scope]) => scope === 'read' || scope === 'open');
  // It asks in a body, and changes nothing.
  expect(reading.map(([route]) => route)).toEqual(['POST /v1/explain']);
});

test('a stranger leaves a line, but not as long a one as it likes', async () => {
  const path = `/v1/${'x'.repeat(6000)}?${'y'.repeat(6000)}`;
  expect((await api.request(path, { method: 'DELETE' })).status).toBe(401);
  const { data } = plane.notices.at(plane.notices.next - 1);
  expect(JSON.parse(data)).toMatchObject({ event: 'AUDIT', method: 'DELETE', status: 401 });
  expect(data.length).toBeLessThan(2000);
});

describe('a route', () => {
  const ask = async (route: string, headers: Record<string, string>) => {
    const [method = '', path = ''] = route.split(' ');
    const response = await api.request(path.replace(/:\w+/g, 'x'), { method, headers });
    void response.body?.cancel();
    return response.status;
  };

  test.each(Object.entries(ROUTE_SCOPES))('%s is for the scope %s', async (route, scope) => {
    if (scope === 'open') {
      expect(await ask(route, {})).toBe(200);
      return;
    }
    expect(await ask(route, {})).toBe(401);
    for (const other of SCOPES) {
      const status = await ask(route, bearer(other));
      if (other === scope || other === 'admin') expect(status).not.toBe(403);
      else expect(status).toBe(403);
    }
  });

  test('that is none is told to those only who are somebody', async () => {
    expect(await ask('GET /v2/flows', {})).toBe(401);
    expect(await ask('GET /v2/flows', bearer('kill'))).toBe(404);
  });
});

describe('who is refused', () => {
  test('without a token hears how to show one', async () => {
    const answer = await api.request('/v1/status');
    expect(answer.headers.get('WWW-Authenticate')).toBe('Bearer realm="culvert"');
    expect(answer.headers.get('Content-Type')).toBe('application/problem+json');
    expect(await answer.json()).toMatchObject({ status: 401, title: 'Unauthorized' });
  });

  test('for want of a scope hears which', async () => {
    const answer = await api.request('/v1/flows?all', {
      method: 'DELETE',
      headers: bearer('read'),
    });
    expect(await answer.json()).toMatchObject({
      status: 403,
      detail: 'the scope "kill" is needed; token "read" has read',
    });
    expect(plane.killed).toEqual([]);
  });

  test('on a unix socket hears that the kernel says who he is', async () => {
    const answer = await apiOf(plane, STRANGER).request('/v1/status');
    expect(await answer.json()).toMatchObject({
      status: 403,
      detail: 'uid 1000 (pid 7) has no scope here: see admin.allow of the config',
    });
  });
});

test('rules that a reload changed hold for the next request', async () => {
  expect((await api.request('/v1/status', { headers: bearer('read') })).status).toBe(200);
  plane.config.access = { tokens: [], peers: [] };
  expect((await api.request('/v1/status', { headers: bearer('read') })).status).toBe(401);
});

describe('a token in the URL', () => {
  test('is none', async () =>
    expect((await api.request('/v1/status?token=token-with-scope-read')).status).toBe(401));
});

describe('web pages', () => {
  const status = async (header: string, value: string, peer: Peer = TCP) =>
    (
      await apiOf(plane, peer).request('/v1/status', {
        headers: { ...bearer('read'), [header]: value },
      })
    ).status;

  test('are refused, even with a token', async () => {
    expect(await status('Origin', 'https://evil.example')).toBe(403);
    expect(await status('Host', 'evil.example')).toBe(403);
    expect(await status('Host', '127.0.0.1:9000')).toBe(200);
    expect(await status('Host', '[::1]:9000')).toBe(200);
    expect(await status('Host', 'localhost')).toBe(200);
    plane.config.hosts.push('gw1.example');
    expect(await status('Host', 'GW1.example:9000')).toBe(200);
    expect(await status('Host', 'x.gw1.example')).toBe(403);
  });

  test('get no CORS headers', async () => {
    const answer = await api.request('/v1/status', {
      method: 'OPTIONS',
      headers: { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'GET' },
    });
    expect(answer.status).toBe(403);
    expect([...answer.headers.keys()].join()).not.toContain('access-control');
  });

  test('may be of any host on a unix socket, whose clients make up a name', async () =>
    expect(await status('Host', 'culvert', { ...STRANGER, uid: 0 })).toBe(200));
});
