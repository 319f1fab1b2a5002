/**
 * What scripts dial outside of claimed connections, and TLS: the compiled binary, its script host
 * without sockets and files, and servers that are really there.
 *
 *   gw                                               server
 *     [ data plane ── script host ]  up0 ═══ dn0 ── Bun (TLS), openssl s_server, a plain listener
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Subprocess } from 'bun';
import { Authority } from '../support/certificates.ts';
import { FAMILIES } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { expectWhole } from '../support/whole-flows.ts';
import { World } from '../support/world.ts';

const [PLAIN, BUN_TLS, OPENSSL, EXPIRED] = [7101, 7102, 7103, 7104] as const;
const SERVER = FAMILIES[0]?.server ?? '';
const SERVER_V6 = FAMILIES[1]?.server ?? '';

/** Asks each server on the list `env.vars.probes`, and says how it went. */
const SCRIPT = `
import { claim, connect, forward } from 'culvert';
const text = (bytes) => bytes === null ? 'FIN' : String.fromCharCode(...bytes);
async function ask(to, options, question) {
  const socket = connect(to, { connectTimeoutMs: 3000, ...options });
  try {
    const info = await socket.opened;
    await socket.write(question);
    const answer = await socket.read();
    await socket.close();
    return { alpn: info.alpn, answer: text(answer).slice(0, 40) };
  } catch (error) { socket.abort(); return { code: error.code, message: error.message }; }
}
let round = 0;
export default {
  flow({ dst }) { return dst.port === 7200 ? claim() : forward(); },
  async load(old, env, ctx) {
    ctx.waitUntil(ask('PLAIN', {}, 'warm').then((r) => ctx.log.info(r, 'warmed')));
  },
  async scheduled(event, env, ctx) {
    round++;
    const tls = { secureTransport: 'on', sni: 'a.example' };
    const all = {
      plain: await ask('PLAIN', {}, 'plain'),
      plain6: await ask('PLAIN6', {}, 'plain'),
      bun: await ask('BUN', { ...tls, alpn: ['http/1.1'] }, 'tls'),
      openssl: await ask('OPENSSL', { ...tls, alpn: ['h2', 'other'] }, 'tls\\n'),
      wrongName: await ask('BUN', { ...tls, sni: 'b.example' }, 'x'),
      expired: await ask('EXPIRED', tls, 'x'),
      noTls: await ask('PLAIN', tls, 'x'),
      refused: await ask('REFUSED', {}, 'x'),
      denied: await ask('192.0.2.99:80', {}, 'x'),
    };
    ctx.log.info({ round, ...all }, 'probed');
  },
  async connect(conn, env, ctx) {
    const up = connect('BUN', { secureTransport: 'on', sni: 'a.example' });
    await up.opened;
    const pump = async (from, to) => {
      for (let b; (b = await from.read()) !== null; ) await to.write(b);
      await to.closeWrite();
    };
    await Promise.all([pump(conn, up), pump(up, conn)]);
  },
};
`
  .replaceAll('PLAIN6', `[${SERVER_V6}]:${PLAIN}`)
  .replaceAll('PLAIN', `${SERVER}:${PLAIN}`)
  .replaceAll('BUN', `${SERVER}:${BUN_TLS}`)
  .replaceAll('OPENSSL', `${SERVER}:${OPENSSL}`)
  .replaceAll('EXPIRED', `${SERVER}:${EXPIRED}`)
  .replaceAll('REFUSED', `${SERVER}:7199`);

/** Servers of Bun, for a process of their own: echoes, plain and with TLS. */
const SERVERS = `
const echo = { data(socket, bytes) { socket.write(bytes); }, end(socket) { socket.end(); } };
const { readFileSync } = require('node:fs');
const key = readFileSync('KEY'), cert = readFileSync('CERT');
const options = { key, cert, ALPNProtocols: ['http/1.1'], allowHalfOpen: true };
require('node:tls')
  .createServer(options, (socket) => { socket.on('error', () => {}); socket.pipe(socket); })
  .listen(${BUN_TLS}, '0.0.0.0');
const expired = { key: Bun.file('OLD_KEY'), cert: Bun.file('OLD_CERT') };
Bun.listen({ hostname: '::', port: ${PLAIN}, socket: echo });
Bun.listen({ hostname: '0.0.0.0', port: ${EXPIRED}, socket: echo, tls: expired });
console.log('ready');
`;

let world: World;
const servers: Subprocess[] = [];

beforeAll(async () => {
  const authority = new Authority();
  const good = authority.server('DNS:a.example');
  const old = authority.server('DNS:a.example', -1);
  world = await World.start({
    scripts: { all: SCRIPT },
    config: {
      scripts: {
        load: [
          {
            name: 'all',
            file: 'scripts/all.ts',
            allow: [`${SERVER}:*`, `[${SERVER_V6}]:*`],
            schedule: { probe: { every: '1s' } },
          },
        ],
        tls: { ca: authority.file },
      },
    },
  });
  const file = join(authority.folder, 'servers.js');
  const source = SERVERS.replace('OLD_KEY', old.key)
    .replace('OLD_CERT', old.cert)
    .replace('KEY', good.key)
    .replace('CERT', good.cert);
  writeFileSync(file, source);
  const { topology } = world;
  const s_server = ['s_server', '-accept', String(OPENSSL), '-rev', '-alpn', 'h2'];
  servers.push(
    topology.spawn(topology.server, [process.execPath, file]),
    topology.spawn(topology.server, [
      ...['openssl', ...s_server, '-quiet', '-cert', good.cert, '-key', good.key],
    ]),
  );
});

afterAll(async () => {
  for (const server of servers) server.kill();
  await world?.[Symbol.asyncDispose]();
});

/** What the script saw in a round in which all servers were there. */
const probed = () =>
  world.gateway.waitForLog(
    'a probe of all servers',
    (line) => line['msg'] === 'probed' && JSON.stringify(line['openssl'] ?? '').includes('slt'),
    20_000,
  );

test('scheduled() reaches plain servers and those with TLS, and says why it does not', async () => {
  expect(await probed()).toMatchObject({
    plain: { answer: 'plain' },
    plain6: { answer: 'plain' },
    bun: { alpn: 'http/1.1', answer: 'tls' },
    openssl: { alpn: 'h2', answer: expect.stringContaining('slt') },
    wrongName: { code: 'tls', message: expect.stringContaining('b.example') },
    expired: { code: 'tls', message: 'the certificate has expired' },
    noTls: { code: 'tls' },
    refused: { code: 'refused' },
    denied: { code: 'denied' },
  });
}, 30_000);

test('what load() gave to waitUntil is done when the gateway has begun', async () => {
  await world.gateway.waitForLog('warm', (line) => line['msg'] === 'warmed');
  const line = world.gateway.logs.find(({ msg }) => msg === 'warmed');
  // The servers may have come later than the gateway.
  expect(['warm', undefined]).toContain(line?.['answer'] as string | undefined);
});

test('a claimed connection is carried over TLS by its script, byte for byte', async () => {
  await probed();
  const load = { host: SERVER, port: 7200, flows: 5, blockBytes: 20_000, intervalMs: 5 };
  const id = await world.client.call('hold', load);
  await Bun.sleep(500);
  expectWhole(await world.client.call('holdStop', { id }), load.flows);
}, 30_000);

test('nothing of it is left: neither sockets nor descriptors', async () => {
  await probed();
  const { gateway } = world;
  expect(await gateway.metric('culvert_script_own_dials_total')).toBeGreaterThan(5);
  const [pid = 0] = gateway.children('__data-plane');
  const fds = () => new Bun.Glob('*').scanSync({ cwd: `/proc/${pid}/fd`, onlyFiles: false });
  const counts: number[] = [];
  for (let i = 0; i < 3; i++) {
    await Bun.sleep(2_000);
    await waitFor('a moment without sockets', async () => {
      return (await gateway.metric('culvert_script_own_sockets')) === 0;
    });
    counts.push([...fds()].length);
  }
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
}, 60_000);

test('the script host is killed: its sockets go, and another one probes on', async () => {
  const [pid = 0] = world.gateway.children('__script-host');
  process.kill(pid, 'SIGKILL');
  const before = world.gateway.logs.length;
  await waitFor(
    'the next probes',
    () =>
      world.gateway.logs.slice(before).some(({ msg, round }) => msg === 'probed' && round === 2),
    20_000,
  );
}, 30_000);
