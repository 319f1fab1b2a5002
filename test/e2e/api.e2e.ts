/**
 * The API of the compiled binary, over both transports: who may do what, writes that race, a
 * config that changes under flows, the end.
 *
 *   client                    gw                        server
 *     agent ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── echo
 *                               ▲ admin.sock, 127.0.0.1:9901
 *                               └── root, uid 1000, bearers of tokens
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  type ApiDocument,
  operationsOf,
  readDocument,
} from '../gateway/supervisor/api/open-api.ts';
import { Gateway } from '../support/gateway.ts';
import { IPV4, IPV6, Topology } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const SEED = 20_261_121;
const READER = 1000;
const STRANGER = 1001;
const PORT = 9901;
const TOKENS = {
  look: { token: 'a-token-to-look-with', scopes: ['read'] },
  deploy: { token: 'a-token-to-deploy-with', scopes: ['read', 'reload'] },
} as const;

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** curl in the namespace of the gateway. */
async function curl(topology: Topology, argv: readonly string[], uid = 0): Promise<Answer> {
  const as = ['setpriv', '--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups'];
  const command = [...as, 'curl', '-s', '--max-time', '10', '-w', '\n%{http_code}', ...argv];
  const { stdout } = await topology.run(topology.gw, ...command);
  const at = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) };
}

/** Requests that its own description leads to, and some that it does not. */
function shotsAt(document: ApiDocument, count: number) {
  const routes = operationsOf(document).filter(
    ({ route }) => !/\/v1\/(drain|stop|capture|.*events|device.swap)/.test(route),
  );
  const shot = fc.record({
    route: fc.constantFrom(...routes),
    part: fc.constantFrom('all', 'a', '..%2f', '%00', 'x'.repeat(300)),
    query: fc.constantFrom('', '?filter=x', '?dry_run=true', '?wait=1ms', '?limit=-1', '?%ff'),
    tag: fc.constantFrom(undefined, '"0-0"', 'none'),
    body: fc.constantFrom('', '{', '{}', '[]', '{"a":1}', 'x'.repeat(70_000)),
    type: fc.constantFrom('application/json', 'application/yaml', 'text/plain'),
  });
  return fc
    .sample(shot, { seed: SEED, numRuns: count })
    .map(({ route, part, query, tag, ...rest }) => ({
      method: route.method,
      place: `${route.path.replace(/\{\w+\}/, part)}${query}`,
      headers: { 'Content-Type': rest.type, ...(tag === undefined ? {} : { 'If-Match': tag }) },
      body: rest.body,
    }));
}

describe('over the unix socket', () => {
  let world: World;
  let port: number;
  beforeAll(async () => {
    world = await World.start({
      config: { admin: { allow: [{ uid: READER, scopes: ['read'] }] }, drain: '2s' },
    });
    // The folder of the test is one of root alone.
    chmodSync(world.gateway.folder, 0o755);
    port = await world.server.call('echo', { port: 0 });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  const as = (uid: number, path: string, ...argv: string[]) =>
    curl(
      world.topology,
      ['--unix-socket', join(world.gateway.folder, 'admin.sock'), `http://x${path}`, ...argv],
      uid,
    );
  const connect = async (host: string) =>
    (await world.client.call('connect', { host, port, timeoutMs: 5000 })).open;
  const patch = (body: object, etag = '*') =>
    world.gateway.api('/v1/config', {
      method: 'PATCH',
      body: JSON.stringify(body),
      headers: { 'If-Match': etag, 'Content-Type': 'application/merge-patch+json' },
    });

  test('the kernel says who asks, and the config what that may', async () => {
    expect((await as(0, '/v1/status')).status).toBe(200);
    expect((await as(READER, '/v1/status')).status).toBe(200);
    const refused = await as(READER, '/v1/reload', '-X', 'POST', '-H', 'If-Match: *');
    expect(refused).toMatchObject({ status: 403, body: expect.stringContaining('uid 1000') });
    expect(await as(STRANGER, '/v1/status')).toMatchObject({ status: 403 });
    expect((await as(STRANGER, '/readyz')).status).toBe(200);
  });

  test('every write leaves a line that says who, what and how it went', async () => {
    await as(READER, '/v1/flows?all', '-X', 'DELETE');
    const line = await world.gateway.waitForLog('audit', (one) => one['event'] === 'audit');
    const refused = await world.gateway.waitForLog(
      'the refused one',
      (one) => one['event'] === 'audit' && one['method'] === 'DELETE',
    );
    expect(line).toMatchObject({ uid: READER, path: '/v1/reload', result: 'refused' });
    expect(refused).toMatchObject({
      uid: READER,
      status: 403,
      query: 'all=',
      pid: expect.any(Number),
    });
  });

  test('rules change with a reload, and who was let in is out', async () => {
    const mode = () => statSync(join(world.gateway.folder, 'admin.sock')).mode & 0o777;
    expect((await patch({ admin: { allow: [] } })).status).toBe(200);
    // Nobody is named, so the file is for its owner, and there is no answer at all.
    expect([mode(), (await as(READER, '/v1/status')).status]).toEqual([0o600, 0]);
    const allow = [{ uid: READER, scopes: ['read'] }];
    expect((await patch({ admin: { allow } })).status).toBe(200);
    expect([mode(), (await as(READER, '/v1/status')).status]).toEqual([0o666, 200]);
    const group = { allow, socket: { group: READER } };
    expect((await patch({ admin: group })).status).toBe(200);
    expect([mode(), (await as(READER, '/v1/status')).status]).toEqual([0o660, 200]);
    expect((await as(STRANGER, '/v1/status')).status).toBe(0);
    expect((await patch({ admin: { allow, socket: null } })).status).toBe(200);
  });

  test('of two deployers who read the same state, exactly one wins, each time', async () => {
    for (let round = 0; round < 3; round++) {
      const etag = (await world.gateway.api('/v1/generations')).headers.get('ETag') ?? '';
      const deploy = (name: string) =>
        world.gateway.api('/v1/scripts/all', {
          method: 'PUT',
          body: `import { forward } from "culvert";
            export default { flow() { return forward(); } }; // ${name} ${round}`,
          headers: { 'If-Match': etag, 'Content-Type': 'application/typescript' },
        });
      const answers = await Promise.all(['a', 'b'].map(deploy));
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 412]);
      const configTag = (await world.gateway.api('/v1/config')).headers.get('ETag') ?? '';
      const levels = ['debug', 'warn'].map((level) => patch({ log: { level } }, configTag));
      const patched = await Promise.all(levels);
      expect(patched.map(({ status }) => status).sort()).toEqual([200, 412]);
      await patch({ log: { level: 'info' } });
    }
  }, 60_000);

  test('a config that is patched decides about the next flow', async () => {
    for (const { server } of [IPV4, IPV6]) expect(await connect(server)).toBe(true);
    const before = (await world.gateway.api('/v1/config')).headers.get('ETag');
    const wrong = await patch({ listeners: [{ name: 'x', action: 'explode' }] });
    expect(wrong.status).toBe(422);
    expect((await patch({ device: { name: 'other0' } })).status).toBe(409);
    expect((await world.gateway.api('/v1/config')).headers.get('ETag')).toBe(before);
    const listeners = [{ name: 'closed', ports: port, action: 'reject' }];
    expect((await patch({ listeners })).status).toBe(200);
    for (const { server } of [IPV4, IPV6]) expect(await connect(server)).toBe(false);
    expect((await patch({ listeners: null })).status).toBe(200);
    for (const { server } of [IPV4, IPV6]) expect(await connect(server)).toBe(true);
  });

  test('requests from its own description do not bring it down', async () => {
    const document = await readDocument({ request: (path) => world.gateway.api(path) });
    for (const { method, place, headers, body } of shotsAt(document, 150)) {
      const response = await world.gateway.api(place, {
        method,
        headers,
        ...(method === 'GET' ? {} : { body }),
        signal: AbortSignal.timeout(30_000),
      });
      await response.text();
      expect([method, place, response.status]).not.toContain(500);
    }
    await world.gateway.ready();
    expect(await connect(IPV4.server)).toBe(true);
  }, 120_000);

  test('a drain lets live flows end, and refuses new ones; a stop ends the process', async () => {
    const load = { host: IPV4.server, port, flows: 1, blockBytes: 100, intervalMs: 10 };
    const hold = await world.client.call('hold', load);
    await waitFor('the flow', async () => {
      const { flows } = await world.gateway.json<{ flows: object[] }>('/v1/flows');
      return flows.length > 0;
    });
    const drain = await world.gateway.cli('drain', '--deadline', '1s');
    expect(drain).toMatchObject({ code: 0, stdout: expect.stringMatching(/^draining: [1-9]/) });
    const { errors } = await world.client.call('holdEnded', { id: hold });
    expect(Object.values(errors)).toEqual([1]);
    const ready = await world.gateway.api('/readyz', { headers: { Accept: 'application/json' } });
    expect(ready.status).toBe(503);
    expect(await ready.json()).toEqual({ ready: false, reasons: ['draining'] });
    expect(await connect(IPV4.server)).toBe(false);
    expect((await world.gateway.cli('stop', '--deadline', '1s')).code).toBe(0);
    expect(await world.gateway.exited).toBe(0);
    expect((await world.gateway.cli('stop')).code).toBe(6);
  });
});

describe('over TCP', () => {
  let topology: Topology;
  let gateway: Gateway;
  beforeAll(async () => {
    topology = Topology.create();
    gateway = await Gateway.start(topology, {
      config: {
        admin: {
          tokens: Object.entries(TOKENS).map(([name, { token, scopes }]) => ({
            name,
            token,
            scopes: [...scopes],
          })),
        },
      },
      args: ['--admin', `127.0.0.1:${PORT}`],
      wait: false,
    });
    await waitFor('the probe', async () => (await ask('/readyz')).status === 200);
  });
  afterAll(async () => {
    await gateway?.[Symbol.asyncDispose]();
    await topology?.[Symbol.asyncDispose]();
  });

  const ask = (path: string, ...argv: string[]) =>
    curl(topology, [`http://127.0.0.1:${PORT}${path}`, ...argv]);
  const bearer = (name: keyof typeof TOKENS) => [
    '-H',
    `Authorization: Bearer ${TOKENS[name].token}`,
  ];

  test('a token has its scopes; without one there are probes', async () => {
    expect((await ask('/v1/status')).status).toBe(401);
    expect((await ask('/v1/status?token=a-token-to-look-with')).status).toBe(401);
    expect((await ask('/v1/status', ...bearer('look'))).status).toBe(200);
    const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk'];
    const asking = h2c.flatMap((header) => ['-H', header]);
    expect((await ask('/v1/status', ...bearer('look'), ...asking)).status).toBe(200);
    const reload = ['/v1/reload?wait=20s', '-X', 'POST', '-H', 'If-Match: *'] as const;
    expect(await ask(...reload, ...bearer('look'))).toMatchObject({
      status: 403,
      body: expect.stringContaining('the scope \\"reload\\" is needed; token \\"look\\" has read'),
    });
    expect((await ask(...reload, ...bearer('deploy'))).status).toBe(200);
    const line = await gateway.waitForLog(
      'the reload',
      (one) => one['event'] === 'audit' && one['status'] === 200,
    );
    expect(line).toMatchObject({
      token: 'deploy',
      address: expect.stringMatching(/^127\.0\.0\.1:/),
    });
  });

  test('web pages are refused, and what is no HTTP is', async () => {
    const origin = ['-H', 'Origin: http://evil.example'];
    expect((await ask('/v1/status', ...bearer('look'), ...origin)).status).toBe(403);
    const host = ['-H', 'Host: evil.example'];
    expect((await ask('/v1/status', ...bearer('look'), ...host)).status).toBe(403);
    expect((await ask('/v1/status', '-H', `X: ${'y'.repeat(20_000)}`)).status).toBe(431);
    expect((await ask('/v1/flows', '-X', 'TRACE', ...bearer('look'))).status).toBe(405);
    const large = ['-X', 'POST', '-H', 'Content-Length: 99999999', '-d', 'x'];
    expect((await ask('/v1/bundles', ...bearer('deploy'), ...large)).status).toBe(413);
  });

  test('requests from its own description do not bring it down', async () => {
    const { body: text } = await ask('/v1/openapi.json', ...bearer('look'));
    for (const shot of shotsAt(JSON.parse(text) as ApiDocument, 40)) {
      const headers = Object.entries(shot.headers).flatMap(([name, value]) => [
        '-H',
        `${name}: ${value}`,
      ]);
      const body = shot.method === 'GET' ? [] : ['--data-raw', shot.body.slice(0, 1000)];
      const argv = ['-X', shot.method, ...headers, ...body, ...bearer('deploy')];
      const { status } = await ask(shot.place, ...argv);
      expect([shot.method, shot.place, status]).not.toContain(500);
      expect(status).toBeGreaterThan(0);
    }
    expect((await ask('/readyz')).status).toBe(200);
  }, 120_000);
});
