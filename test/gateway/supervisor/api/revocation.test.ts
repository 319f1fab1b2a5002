/** Answers that go on, whose caller loses what let it in. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { admin, type Scope } from '../../../../src/gateway/config/admin-schema.ts';
import { validateConfig } from '../../../../src/gateway/config/load.ts';
import { accessRules } from '../../../../src/gateway/supervisor/api/callers.ts';
import { listen } from '../../../../src/gateway/supervisor/api/listen.ts';
import type { ApiServer } from '../../../../src/gateway/supervisor/api/transport/server.ts';
import { ConfigState, checkConfig } from '../../../../src/gateway/supervisor/config-state.ts';
import { readBlocks } from '../../../support/pcapng.ts';
import { PATIENT_TEST_MS, until } from '../support.ts';
import { apiOf, type FakePlane, fakePlane } from './fake-plane.ts';

setDefaultTimeout(PATIENT_TEST_MS);

const TOKEN = 'a-token-of-a-dashboard';
const OTHER = 'a-token-of-somebody-else';
const PEER = { kind: 'tcp', address: '127.0.0.1:40000' } as const;
const bearer = { Authorization: `Bearer ${TOKEN}` };

const rules = (token: string, ...scopes: Scope[]) =>
  accessRules(admin.parse({ tokens: [{ name: 'look', token, scopes }] }), 'c.yaml');

let plane: FakePlane;
let server: ApiServer | undefined;
beforeEach(() => {
  plane = fakePlane();
  plane.setAccess(rules(TOKEN, 'admin'));
});
afterEach(async () => {
  plane.flows.close();
  await server?.stop();
  server = undefined;
});

const open = (path: string) => apiOf(plane, PEER).request(path, { headers: bearer });

describe('a token that is revoked ends', () => {
  test.each(['/v1/events', '/v1/device/events'])('%s, which says why', async (path) => {
    const answer = await open(path);
    expect(answer.status).toBe(200);
    plane.setAccess(rules(OTHER, 'admin'));
    const text = await answer.text();
    expect(text).toContain('event: revoked\ndata: {"event":"revoked","detail":"');
    expect((await open(path)).status).toBe(401);
  });

  test('an event stream that waits for something to happen, and its place is free', async () => {
    const reader = (await open('/v1/events')).body!.getReader();
    await reader.read();
    const waiting = reader.read();
    plane.setAccess(rules(OTHER, 'admin'));
    expect(new TextDecoder().decode((await waiting).value)).toStartWith('event: revoked\n');
    expect((await reader.read()).done).toBe(true);
    // As many as there may be: the one that ended is none of them.
    plane.setAccess(rules(TOKEN, 'admin'));
    for (let i = 0; i < 16; i++) expect((await open('/v1/events')).status).toBe(200);
    expect((await open('/v1/events')).status).toBe(429);
  });

  test('a capture, whose file is whole as far as it goes', async () => {
    const answer = await open('/v1/capture');
    const reader = answer.body!.getReader();
    const { value } = await reader.read();
    const waiting = reader.read();
    plane.setAccess(rules(OTHER, 'admin'));
    expect((await waiting).done).toBe(true);
    expect(readBlocks(value!).map(({ type }) => type)).toEqual([0x0a0d0d0a, 1]);
    expect(plane.captureOrders.at(-1)).toEqual([]);
  });

  test('lines over HTTP, and the connection with them', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'api.sock');
    server = await listen({ kind: 'unix', path }, (request) =>
      apiOf(plane, PEER).fetch(request, { peer: PEER }),
    );
    const answer = await fetch('http://localhost/logs', { unix: path, headers: bearer });
    expect(answer.status).toBe(200);
    plane.setAccess(rules(OTHER, 'admin'));
    expect(await answer.text()).toBe('');
  });

  test('a WebSocket, with a code that says why', async () => {
    const port = 41_000 + (process.pid % 10_000);
    const tcp = { kind: 'tcp', ip: '127.0.0.1', port } as const;
    server = await listen(tcp, (request, env) => apiOf(plane).fetch(request, env));
    const socket = new WebSocket(`ws://127.0.0.1:${port}/connections?interval=60000`, {
      headers: bearer,
    });
    let messages = 0;
    let close: { readonly code: number; readonly reason: string } | undefined;
    socket.onmessage = () => void messages++;
    socket.onclose = ({ code, reason }) => {
      close = { code, reason };
    };
    await until(() => messages === 1, 'the first message');
    plane.setAccess(rules(OTHER, 'admin'));
    await until(() => close !== undefined, 'the end');
    expect(close).toEqual({ code: 1008, reason: 'the config lets this caller in no more' });
  });
});

test('who keeps its token and loses the scope loses the answers that need it', async () => {
  const capture = (await open('/v1/capture')).body!.getReader();
  const events = (await open('/v1/events')).body!.getReader();
  await capture.read();
  await events.read();
  const [packets, news] = [capture.read(), events.read()];
  plane.setAccess(rules(TOKEN, 'read'));
  expect((await packets).done).toBe(true);
  plane.notices.tell('RELOAD', { result: 'ok' });
  expect(new TextDecoder().decode((await news).value)).toContain('event: RELOAD');
  await events.cancel();
});

test('what goes on for dashboards ends when none are wanted any more', async () => {
  const lines = (await open('/logs')).body!.getReader();
  const events = (await open('/v1/events')).body!.getReader();
  await events.read();
  const [line, event] = [lines.read(), events.read()];
  plane.config.isClash = false;
  plane.setAccess(rules(TOKEN, 'admin'));
  await expect(line).rejects.toThrow('lets this caller in no more');
  plane.notices.tell('RELOAD', { result: 'ok' });
  expect(new TextDecoder().decode((await event).value)).toContain('event: RELOAD');
  await events.cancel();
});

test('a user of the socket who is allowed no more loses its answers', async () => {
  const user = { kind: 'unix', pid: 7, uid: 1000, gid: 1000, groups: [] } as const;
  const allow = (uid: number) =>
    accessRules(admin.parse({ allow: [{ uid, scopes: ['read'] }] }), 'c.yaml');
  plane.setAccess(allow(1000));
  const answer = await apiOf(plane, user).request('/v1/events');
  plane.setAccess(allow(1001));
  expect(await answer.text()).toContain('event: revoked');
});

test('rules that change tell who asked, until it asks no more', () => {
  const loaded = { config: validateConfig({}, 'c', []), folder: '/' };
  const state = new ConfigState(loaded);
  let told = 0;
  const leave = state.onAccess(() => void told++);
  state.accept(checkConfig(loaded));
  expect(told).toBe(1);
  leave();
  state.accept(checkConfig(loaded));
  expect(told).toBe(1);
});
