/** Pages that a reverse proxy leads to the unix socket, as bytes of a client of that socket. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listen } from '../../../../src/gateway/supervisor/api/listen.ts';
import type { ApiServer } from '../../../../src/gateway/supervisor/api/transport/server.ts';
import { apiOf, fakePlane } from './fake-plane.ts';

const path = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'admin.sock');
const UPGRADE = [
  ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];

let server: ApiServer;
beforeEach(async () => {
  const api = apiOf(fakePlane());
  server = await listen({ kind: 'unix', path }, (request, env) => api.fetch(request, env));
});
afterEach(() => server.stop());

/** @returns the status of the answer; 0 where the connection ends, or a second is over, before */
function ask(request: string, ...headers: string[]): Promise<number> {
  const head = [`${request} HTTP/1.1`, 'Host: dash.example.net', ...headers, '', ''].join('\r\n');
  return new Promise((done) => {
    const socket = connect(path, () => socket.write(head));
    socket.once('data', (bytes) => {
      done(Number(/^HTTP\/1\.1 (\d+)/.exec(bytes.toString('latin1'))?.[1] ?? 0));
      socket.destroy();
    });
    socket.once('close', () => done(0));
    socket.once('error', () => done(0));
    socket.setTimeout(1000, () => socket.destroy());
  });
}

test.each([
  ['http://evil.example'],
  ['https://evil.example'],
  ['https://dash.example.net.evil.example'],
  ['https://dash.example.net:8443'],
  ['null'],
])('a page of the foreign origin %s is refused on a unix socket', async (origin) => {
  const header = `Origin: ${origin}`;
  expect(await ask('GET /connections', header)).toBe(403);
  expect(await ask('DELETE /connections', header)).toBe(403);
  expect(await ask('GET /connections', header, ...UPGRADE)).toBe(403);
  expect(await ask('GET /logs', header, ...UPGRADE)).toBe(403);
});

test.each([['https://dash.example.net'], ['http://dash.example.net']])(
  'the page of the proxy is let through a unix socket: %s',
  async (origin) => {
    expect(await ask('GET /connections', `Origin: ${origin}`)).toBe(200);
    expect(await ask('GET /connections', `Origin: ${origin}`, ...UPGRADE)).toBe(101);
  },
);

test('who is no page needs no origin on a unix socket', async () => {
  expect(await ask('GET /v1/status')).toBe(200);
  expect(await ask('GET /connections', ...UPGRADE)).toBe(101);
});
