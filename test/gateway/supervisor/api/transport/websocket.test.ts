/** WebSocket clients that do not behave. */
import { afterEach, expect, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { answerLines } from '../../../../../src/gateway/supervisor/api/lines.ts';
import { listen } from '../../../../../src/gateway/supervisor/api/listen.ts';
import type { Handler } from '../../../../../src/gateway/supervisor/api/transport/answer-of.ts';
import type { ApiServer } from '../../../../../src/gateway/supervisor/api/transport/server.ts';
import { RawClients } from '../../../../support/raw-clients.ts';
import { until } from '../../support.ts';

const path = join(mkdtempSync(join(tmpdir(), 'culvert-')), 'api.sock');
const UPGRADE =
  'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: ';
const PING_BYTES = 125;
const PINGS = 65_536;

let server: ApiServer | undefined;
const clients = new RawClients();
afterEach(async () => {
  clients.destroy();
  await server?.stop();
});

async function client(handler: Handler, version: string, upgrade = UPGRADE) {
  server = await listen({ kind: 'unix', path }, handler);
  const seen = clients.open({ path, allowHalfOpen: true }, `${upgrade}${version}\r\n\r\n`);
  await until(() => seen.text.includes('\r\n\r\n'), 'an answer');
  return seen;
}

/** A frame under a mask of zeros. */
const ping = (payload: string): Buffer =>
  Buffer.concat([
    Buffer.from([0x89, 0x80 | payload.length, 0, 0, 0, 0]),
    Buffer.from(payload, 'latin1'),
  ]);

const silence: Handler = () =>
  answerLines({ next: () => new Promise(() => undefined), close: () => undefined });

test('who pings and reads no answer does not have them all kept', async () => {
  const seen = await client(silence, '13');
  expect(seen.text).toStartWith('HTTP/1.1 101 ');
  seen.socket.pause();
  const one = ping('x'.repeat(PING_BYTES));
  seen.socket.write(Buffer.alloc(one.length * PINGS, one));
  await until(() => seen.socket.writableLength === 0, 'the pings to be taken');
  seen.socket.resume();
  await until(() => {
    if (seen.text.includes('last')) return true;
    seen.socket.write(ping('last'));
    return false;
  }, 'an answer to the last one');
  // What waits in the kernel is read, and no more than that was kept.
  expect(seen.text.length).toBeLessThan((PINGS * PING_BYTES) / 4);
});

test('a key that is none is a bad request, and another version hears of ours', async () => {
  const bad = await client(silence, '13', UPGRADE.replace('dGhl', '!'));
  expect(bad.text).toStartWith('HTTP/1.1 400 ');
  await server?.stop();
  const old = await client(silence, '8');
  expect(old.text).toStartWith('HTTP/1.1 426 ');
  expect(old.text).toContain('\r\nSec-WebSocket-Version: 13\r\n');
});

test('who is refused and does not hang up loses its place all the same', async () => {
  const seen = await client(silence, '12');
  expect(seen.text).toStartWith('HTTP/1.1 426 ');
  await until(() => {
    if (!seen.isClosed) seen.socket.write('x');
    return seen.isClosed;
  }, 'the end');
});
