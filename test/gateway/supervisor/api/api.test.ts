import { beforeEach, describe, expect, test } from 'bun:test';
import type { Hono } from 'hono';
import type { BundleContent } from '../../../../src/gateway/supervisor/scripts/generation.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

let plane: FakePlane;
let api: Hono;
beforeEach(() => {
  plane = fakePlane();
  api = apiOf(plane);
});

const TYPESCRIPT = { 'Content-Type': 'application/typescript' };

const put = (
  name: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
  query = '',
) =>
  api.request(`/v1/scripts/${name}${query}`, {
    method: 'PUT',
    body,
    headers: { ...TYPESCRIPT, ...headers },
  });
const post = (path: string, headers: Record<string, string> = {}) =>
  api.request(path, { method: 'POST', headers });

describe('a script', () => {
  test('is put with the ETag that was read, and read back', async () => {
    const { headers } = await api.request('/v1/generations');
    const answer = await put('route', 'export default 1', {
      'If-Match': headers.get('ETag') ?? '',
    });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({
      changed: true,
      generation: { number: 1, active: true },
    });
    const source = await api.request('/v1/scripts/route');
    expect(await source.text()).toBe('export default 1');
    expect(source.headers.get('ETag')).toBe(answer.headers.get('ETag'));
  });

  test('without If-Match is refused with 428', async () => {
    const answer = await put('route', 'export default 1');
    expect(answer.status).toBe(428);
    expect(plane.activeGeneration.number).toBe(0);
  });

  test('with a stale ETag is refused with 412', async () => {
    const before = plane.etag;
    await put('route', 'one', { 'If-Match': '*' });
    expect((await put('route', 'two', { 'If-Match': before })).status).toBe(412);
    expect(plane.activeGeneration.scripts[0]?.source).toBe('one');
  });

  test('is put when one of the ETags that are listed is right', async () => {
    const list = `"0-old", ,W/${plane.etag} , "x,y"`;
    expect((await put('route', 'one', { 'If-Match': list })).status).toBe(200);
    expect((await put('route', 'two', { 'If-Match': list })).status).toBe(412);
    expect((await put('route', 'two', { 'If-Match': '"a" "b"' })).status).toBe(400);
    expect((await put('route', 'two', { 'If-Match': 'unquoted' })).status).toBe(400);
  });

  test('that would make all scripts together too large is refused with 422', async () => {
    const large = `/*${'x'.repeat(600_000)}*/`;
    expect((await put('one', large, { 'If-Match': '*' })).status).toBe(200);
    const answer = await put('two', large, { 'If-Match': '*' });
    expect(answer.status).toBe(422);
    expect(await answer.text()).toContain('bytes of source in all scripts');
    expect(plane.activeGeneration.number).toBe(1);
  });

  test('that no host could load now is no fault of the client: 503 with the reason', async () => {
    const answer = await put('route', 'unlucky', { 'If-Match': '*' });
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ detail: 'the machine is overloaded' });
    expect(plane.activeGeneration.number).toBe(0);
  });

  test('that does not load is refused with 422, line and column, and changes nothing', async () => {
    const before = plane.etag;
    const answer = await put('route', 'broken', { 'If-Match': '*' });
    expect(answer.status).toBe(422);
    expect(answer.headers.get('Content-Type')).toBe('application/problem+json');
    expect(await answer.json()).toMatchObject({
      type: 'about:blank',
      status: 422,
      detail: 'route.ts:2:3: unexpected token',
      errors: [{ path: 'route.ts', message: 'unexpected token', line: 2, column: 3 }],
    });
    expect(plane.etag).toBe(before);
  });

  test('is checked by a dry run, and not put', async () => {
    const answer = await put('route', 'fine', {}, '?dry_run=true');
    expect(await answer.json()).toMatchObject({ changed: false, dry_run: true });
    expect((await put('route', 'broken', {}, '?dry_run=true')).status).toBe(422);
    expect(plane.activeGeneration.number).toBe(0);
  });

  test('that is identical is no change, unless it is forced', async () => {
    await put('route', 'one', {}, '?force=true');
    expect(await (await put('route', 'one', { 'If-Match': '*' })).json()).toMatchObject({
      changed: false,
    });
    expect(await (await put('route', 'one', {}, '?force=true')).json()).toMatchObject({
      changed: true,
      generation: { number: 2 },
    });
  });

  test('is removed once', async () => {
    await put('route', 'one', { 'If-Match': '*' });
    const remove = () =>
      api.request('/v1/scripts/route', { method: 'DELETE', headers: { 'If-Match': '*' } });
    expect((await remove()).status).toBe(200);
    expect((await remove()).status).toBe(404);
    expect((await api.request('/v1/scripts/route')).status).toBe(404);
  });
});

describe('a script of several files', () => {
  const JSON_HEADERS = { 'If-Match': '*', 'Content-Type': 'application/json' };
  const body = {
    entry: 'src/start.ts',
    files: { 'src/start.ts': 'start', 'src/own.ts': 'own', 'lib.ts': 'lib' },
    tests: { 'src/start.test.ts': 'test' },
    allow: ['10.0.0.1:80'],
    schedule: { probe: { every: '30s' } },
  };

  test('is put as JSON, with paths from the folder of the one that starts', async () => {
    const answer = await put('route', JSON.stringify(body), JSON_HEADERS);
    expect(answer.status).toBe(200);
    expect(plane.activeGeneration.scripts).toEqual([
      {
        name: 'route',
        file: 'src/start.ts',
        source: 'start',
        modules: { 'own.ts': 'own', '../lib.ts': 'lib' },
        tests: { 'start.test.ts': 'test' },
        allow: ['10.0.0.1:80'],
        schedule: { probe: { everyMs: 30_000 } },
      },
    ]);
  });

  test('is read as it was put, by who asks for JSON', async () => {
    const files = { 'route.ts': 'one', 'lib.ts': 'lib' };
    const sent = { ...body, entry: 'route.ts', files, tests: { 'route.test.ts': 'test' } };
    await put('route', JSON.stringify(sent), JSON_HEADERS);
    const answer = await api.request('/v1/scripts/route', {
      headers: { Accept: 'application/json' },
    });
    expect(await answer.json()).toEqual({ ...sent, schedule: { probe: { every: '30000ms' } } });
  });

  test('is one of a whole bundle, which replaces all scripts', async () => {
    await put('old', 'old', { 'If-Match': '*' });
    const scripts = ['b', 'a'].map((name) => ({ name, files: { [`${name}.ts`]: name } }));
    const post = (content: unknown) =>
      api.request('/v1/bundles', {
        method: 'POST',
        body: JSON.stringify(content),
        headers: JSON_HEADERS,
      });
    expect((await post({ scripts, vars: { zone: 'eu' } })).status).toBe(200);
    expect(plane.activeGeneration.scripts.map(({ name, source }) => [name, source])).toEqual([
      ['b', 'b'],
      ['a', 'a'],
    ]);
    expect(plane.activeGeneration.vars).toEqual({ zone: 'eu' });
    const blocked = { type: 'cidr', entries: ['10.0.0.0/8', '::1'] };
    expect((await post({ scripts, sets: { blocked } })).status).toBe(200);
    expect(plane.activeGeneration.sets).toEqual({
      blocked: { type: 'cidr', text: '10.0.0.0/8\n::1' },
    });
    const wrong = await post({ scripts, sets: { blocked: { ...blocked, type: 'domain' } } });
    expect(wrong.status).toBe(400);
    expect(await wrong.text()).toContain('entry 1: \\"10.0.0.0/8\\" is no name');
    expect((await post({ scripts: [{ name: 'a', files: {} }] })).status).toBe(400);
    expect((await post({})).status).toBe(400);
  });

  test('has at most 64 of them', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 65 }, (_, i) => [i === 0 ? 'route.ts' : `f${i}.ts`, '']),
    );
    const answer = await put('route', JSON.stringify({ files }), JSON_HEADERS);
    expect(answer.status).toBe(422);
    expect(await answer.text()).toContain('more than 64 files');
  });
});

describe('a body that is no script', () => {
  const force = '?force=true';
  test.each([
    ['of another type', 415, '{}', { 'Content-Type': 'application/x-tar' }],
    ['that is no JSON', 400, '{', { 'Content-Type': 'application/json' }],
    ['that has no file', 400, '{"files":{}}', { 'Content-Type': 'application/json' }],
    [
      'whose files lie elsewhere',
      400,
      '{"files":{"route.ts":"","../a.ts":""}}',
      { 'Content-Type': 'application/json' },
    ],
    [
      'that starts with no file of its own',
      400,
      '{"files":{"a.ts":"","b.ts":""}}',
      { 'Content-Type': 'application/json' },
    ],
    ['that is empty', 400, '', {}],
    ['that is not UTF-8', 400, new Uint8Array([0xff, 0xfe]), {}],
    ['that is too large', 413, 'x'.repeat(1024 * 1024 + 1), {}],
  ] as const)('%s is refused with %d', async (_, status, body, headers) => {
    const answer = await put('route', body, headers, force);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('Content-Type')).toBe('application/problem+json');
    expect(plane.activeGeneration.number).toBe(0);
  });

  test('with a name that is none is refused with 400', async () =>
    expect((await put('a%2Fb', 'x', {}, force)).status).toBe(400));

  test('with a query that cannot be read names the place', async () => {
    const answer = await put('route', 'x', {}, '?force=perhaps');
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ errors: [{ path: 'force' }] });
  });
});

describe('generations', () => {
  test('are listed, newest first, with the one that is active', async () => {
    await put('route', 'one', { 'If-Match': '*' });
    await put('route', 'two', { 'If-Match': '*' });
    const answer = await api.request('/v1/generations');
    expect(await answer.json()).toMatchObject({
      active: 2,
      generations: [
        { number: 2, active: true, scripts: ['route'], origin: 'api' },
        { number: 1, active: false },
      ],
    });
  });

  test('and scripts are not sent again to who has them', async () => {
    await put('route', 'one', { 'If-Match': '*' });
    for (const path of ['/v1/generations', '/v1/scripts/route']) {
      const { headers } = await api.request(path);
      const tag = headers.get('ETag') ?? '';
      const again = (tags: string) => api.request(path, { headers: { 'If-None-Match': tags } });
      const answer = await again(`"0-old", W/${tag}`);
      expect(answer.status).toBe(304);
      expect(answer.headers.get('ETag')).toBe(tag);
      expect(await answer.text()).toBe('');
      expect((await again('*')).status).toBe(304);
      expect((await again('"0-old"')).status).toBe(200);
      expect((await again('old')).status).toBe(400);
    }
  });

  test('are rolled back to', async () => {
    await put('route', 'one', { 'If-Match': '*' });
    await put('route', 'two', { 'If-Match': '*' });
    const answer = await post('/v1/rollback?to=1', { 'If-Match': plane.etag });
    expect(await answer.json()).toMatchObject({ generation: { number: 3, copy_of: 1 } });
    expect(plane.activeGeneration.scripts[0]?.source).toBe('one');
    expect((await post('/v1/rollback?to=77', { 'If-Match': '*' })).status).toBe(404);
    expect((await post('/v1/rollback?to=x', { 'If-Match': '*' })).status).toBe(400);
    expect((await post('/v1/rollback')).status).toBe(428);
  });

  test('a reload wants to know what it starts from', async () => {
    expect((await post('/v1/reload')).status).toBe(428);
    const answer = await post('/v1/reload?wait=10s', { 'If-Match': plane.etag });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ changed: false });
  });
});

describe('a reload', () => {
  const reload = async (id: string | null) =>
    (await (await api.request(`/v1/reloads/${id}`)).json()) as Record<string, unknown>;
  const broken = (active: BundleContent): BundleContent => ({
    ...active,
    scripts: [{ name: 'a', file: 'a.ts', source: 'broken' }],
  });

  test('has an id at once, and tells later how it went', async () => {
    const gate = Promise.withResolvers<void>();
    plane.disk.held = gate.promise;
    const answer = await post('/v1/reload', { 'If-Match': '*' });
    const id = answer.headers.get('Reload-ID');
    expect(answer.status).toBe(202);
    expect(answer.headers.get('Location')).toBe(`/v1/reloads/${id}`);
    expect(await answer.json()).toMatchObject({ id, state: 'validating' });
    gate.resolve();
    await plane.findReload(id ?? '').decided(1000);
    await Bun.sleep(0);
    expect(await reload(id)).toMatchObject({
      state: 'done',
      ended_at: expect.any(String),
      change: { changed: false },
    });
  });

  test('that takes longer than was waited for goes on', async () => {
    plane.disk.held = Bun.sleep(50);
    const answer = await post('/v1/reload?wait=1ms', { 'If-Match': '*' });
    expect(answer.status).toBe(202);
    await Bun.sleep(80);
    expect(await reload(answer.headers.get('Reload-ID'))).toMatchObject({ state: 'done' });
  });

  test('that fails says so to who waits, and to who asks later', async () => {
    plane.disk.read = broken;
    const waited = await post('/v1/reload?wait=1s', { 'If-Match': '*' });
    expect(waited.status).toBe(422);
    expect(await waited.json()).toMatchObject({ errors: [{ path: 'a.ts', line: 2 }] });
    const { headers, status } = await post('/v1/reload', { 'If-Match': '*' });
    expect(status).toBe(202);
    await plane.findReload(headers.get('Reload-ID') ?? '').decided(1000);
    expect(await reload(headers.get('Reload-ID'))).toMatchObject({
      state: 'failed',
      problem: { status: 422, errors: [{ path: 'a.ts', line: 2 }] },
    });
  });

  test('is listed, newest first; an id that is not known is not found', async () => {
    await post('/v1/reload?wait=1s', { 'If-Match': '*' });
    const { headers } = await post('/v1/reload?wait=1s', { 'If-Match': '*' });
    const { reloads } = (await (await api.request('/v1/reloads')).json()) as {
      reloads: { id: string }[];
    };
    expect(reloads.map(({ id }) => id)).toHaveLength(2);
    expect(reloads[0]?.id).toBe(headers.get('Reload-ID') ?? '');
    expect((await api.request('/v1/reloads/nope')).status).toBe(404);
    expect((await post('/v1/reload?wait=1h', { 'If-Match': '*' })).status).toBe(400);
  });
});

describe('a trial', () => {
  const canary = (query: string) =>
    api.request(`/v1/scripts/route?${query}`, {
      method: 'PUT',
      body: 'two',
      headers: { 'If-Match': '*', 'Content-Type': 'application/typescript' },
    });

  test('is asked for with a change, shown, and promoted', async () => {
    await put('route', 'one', { 'If-Match': '*' });
    const before = plane.etag;
    expect(await (await canary('canary=10&canary_for=1m')).json()).toMatchObject({
      changed: true,
      trial: 'canary',
      generation: { number: 2, active: false },
    });
    expect(plane.etag).not.toBe(before);
    expect(await (await api.request('/v1/trial')).json()).toMatchObject({
      mode: 'canary',
      share: 10,
      for_ms: 60_000,
      decisions: 9,
      failures: 1,
    });
    expect(plane.activeGeneration.number).toBe(1);
    expect((await post('/v1/trial/promote')).status).toBe(428);
    expect((await post('/v1/trial/promote', { 'If-Match': before })).status).toBe(412);
    expect(plane.activeGeneration.number).toBe(1);
    expect((await post('/v1/trial/promote', { 'If-Match': plane.etag })).status).toBe(200);
    expect(plane.activeGeneration.number).toBe(2);
  });

  test('is ended by abort; without one there is nothing to end', async () => {
    await put('route', 'one', { 'If-Match': '*' });
    await canary('shadow');
    expect((await post('/v1/trial/abort')).status).toBe(428);
    expect((await post('/v1/trial/abort', { 'If-Match': '"0-0"' })).status).toBe(412);
    expect(await (await post('/v1/trial/abort', { 'If-Match': '*' })).json()).toMatchObject({
      generation: { number: 1, active: true },
    });
    expect((await api.request('/v1/trial')).status).toBe(404);
    expect((await post('/v1/trial/abort', { 'If-Match': '*' })).status).toBe(404);
    expect((await post('/v1/trial/promote', { 'If-Match': plane.etag })).status).toBe(404);
  });

  test.each(['canary=101', 'canary=x', 'canary_for=1', 'canary=5&shadow'])(
    'with %s is refused',
    async (query) => expect((await canary(query)).status).toBe(400),
  );
});

describe('flows', () => {
  test('are listed and filtered', async () => {
    const list = async (query: string) =>
      (await api.request(`/v1/flows${query}`)).json() as Promise<{ flows: { id: string }[] }>;
    expect((await list('')).flows.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    expect((await list('?filter=port%3D443')).flows.map(({ id }) => id)).toEqual(['b']);
    expect((await list('?limit=1')).flows).toHaveLength(1);
    expect(await list('?limit=2')).toMatchObject({ next: 4 });
    expect((await list('?limit=2&from=4')).flows.map(({ id }) => id)).toEqual(['c']);
  });

  test.each(['?filter=colour%3Dred', '?limit=0', '?limit=x', '?from=-1'])(
    'a query that cannot be read is refused: %s',
    async (query) => expect((await api.request(`/v1/flows${query}`)).status).toBe(400),
  );

  test('are looked at and ended by id', async () => {
    expect(await (await api.request('/v1/flows/a')).json()).toMatchObject({
      id: 'a',
      dst_port: 80,
    });
    expect((await api.request('/v1/flows/zz')).status).toBe(404);
    const kill = (id: string, headers = {}) =>
      api.request(`/v1/flows/${id}`, { method: 'DELETE', headers });
    expect((await kill('a', { 'If-Match': '"b"' })).status).toBe(412);
    expect((await kill('a', { 'If-Match': '"b", "a"' })).status).toBe(204);
    expect((await kill('b')).status).toBe(404);
    expect((await kill('-1')).status).toBe(404);
    expect(plane.killed).toEqual([10, 11]);
  });

  test('a filter that cannot be read is answered with the column', async () => {
    const filter = encodeURIComponent('proto=tcp and colour=red');
    const answer = await api.request(`/v1/flows?filter=${filter}`);
    const body = (await answer.json()) as { detail: string; errors: object[] };
    expect(body.detail).toStartWith('filter, column 15: "colour" is no field');
    expect(body.errors[0]).toMatchObject({ path: 'filter', line: 1, column: 15 });
  });

  test('are ended by filter, and shown only in a dry run', async () => {
    const end = async (query: string) =>
      (await api.request(`/v1/flows?${query}`, { method: 'DELETE' })).json() as Promise<object>;
    const tcp = `filter=${encodeURIComponent('proto = tcp')}`;
    expect(await end(`${tcp}&dry_run=true`)).toMatchObject({
      dry_run: true,
      matched: 2,
      killed: 0,
      flows: [{ id: 'a' }, { id: 'b' }],
    });
    expect(plane.killed).toEqual([]);
    expect(await end(tcp)).toEqual({ dry_run: false, matched: 2, killed: 1 });
    expect(plane.killed).toEqual([10, 11]);
    expect(await end('all=true')).toMatchObject({ matched: 3 });
  });

  test.each(['', '?filter=', '?filter=%20', '?dry_run=true', '?all=false', '?filter=x'])(
    'are not ended when it is not said which: "%s"',
    async (query) => {
      const answer = await api.request(`/v1/flows${query}`, { method: 'DELETE' });
      expect(answer.status).toBe(400);
      expect(plane.killed).toEqual([]);
    },
  );
});

describe('connection tracking', () => {
  test('is listed by tuples, filtered, and counted', async () => {
    const get = async (path: string) =>
      (await api.request(`/v1/conntrack${path}`)).json() as Promise<{ entries: object[] }>;
    expect((await get('')).entries).toHaveLength(3);
    expect((await get('?filter=carrier%3Dnat')).entries).toEqual([
      expect.objectContaining({ id: 'c', state: 'UNREPLIED', expires_ms: 29_000, replied: false }),
    ]);
    expect(await get('?limit=1')).toMatchObject({ next: 2 });
    expect(await get('/count')).toEqual({ count: 3, limit: 6 } as never);
    expect(await get('/count?filter=proto%3Dudp')).toMatchObject({ count: 1 });
    expect((await api.request('/v1/conntrack?filter=x')).status).toBe(400);
    expect((await api.request('/v1/conntrack/count?filter=x')).status).toBe(400);
  });
});

describe('probes', () => {
  test('tell live from ready', async () => {
    plane.reasons = ['draining'];
    expect((await api.request('/healthz')).status).toBe(200);
    const answer = await api.request('/readyz');
    expect(answer.status).toBe(503);
    expect(await answer.text()).toBe('not ready: draining\n');
    const json = await api.request('/readyz', { headers: { Accept: 'application/json' } });
    expect(await json.json()).toEqual({ ready: false, reasons: ['draining'] });
    plane.reasons = [];
    expect((await api.request('/readyz')).status).toBe(200);
  });

  test('drops that never happened are shown on request', async () => {
    expect(await (await api.request('/v1/drops')).json()).toEqual({
      drops: [{ reason: 'paws', layer: 'tcp', count: 3 }],
      closes: [],
    });
    expect(await (await api.request('/v1/drops?all')).json()).toMatchObject({
      closes: [{ count: 0 }],
    });
  });

  test('metrics are text of the Prometheus version', async () => {
    const answer = await api.request('/metrics');
    expect(answer.headers.get('Content-Type')).toStartWith('text/plain; version=0.0.4');
  });
});

describe('errors', () => {
  test('a failure of ours tells a client nothing about itself', async () => {
    plane.failWith = new Error('secret detail');
    const answer = await api.request('/v1/status');
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain('secret');
  });

  test('a path that is none is a problem, too', async () => {
    const answer = await api.request('/v2/status');
    expect(answer.status).toBe(404);
    expect(answer.headers.get('Content-Type')).toBe('application/problem+json');
  });
});

test('upstreams are told with their addresses, and which of them are left out', async () => {
  const answer = await api.request('/v1/upstreams');
  expect(await answer.json()).toMatchObject({
    upstreams: [
      {
        name: 'web',
        addresses: [
          { address: '10.0.0.5:80', healthy: true },
          { address: '10.0.0.6:80', healthy: false, last_error: 'ECONNREFUSED' },
        ],
      },
    ],
  });
});
