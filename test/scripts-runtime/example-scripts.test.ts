import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { type LoadOptions, ScriptWorld } from './script-world.ts';

async function run(name: string, options: LoadOptions = {}): Promise<ScriptWorld> {
  const file = new URL(`../../scripts/${name}.ts`, import.meta.url);
  const world = new ScriptWorld();
  await world.load({ [name]: readFileSync(file, 'utf8') }, options);
  return world;
}

test('default: port 80 of the welcome address shows the page, in both families', async () => {
  const world = await run('default');
  const page = 'redirect welcome Hello from scripts/default.ts';
  expect(world.outcome('198.18.0.80', 80)).toBe(page);
  expect(world.outcome('fdc0:c01e::80', 80)).toBe(page);
  expect(world.outcome('198.18.0.80', 81)).toBe('reject rst');
  expect(world.outcome('198.18.0.80', 80, { protocol: 'udp' })).toBe('reject rst');
});

test('default: every port of the host address is that port of the host', async () => {
  const world = await run('default');
  expect(world.outcome('198.18.0.81', 8080)).toBe('forward 127.0.0.1:8080');
  expect(world.outcome('fdc0:c01e::81', 22)).toBe('forward [::1]:22');
  expect(world.outcome('198.18.0.81', 53, { protocol: 'udp' })).toBe('forward 127.0.0.1:53');
  expect(world.outcome('198.18.0.81', 0, { protocol: 'icmp' })).toBe('forward 127.0.0.1:0');
});

test('default: everything else is rejected', async () => {
  const world = await run('default');
  expect(world.outcome('198.18.0.82', 80)).toBe('reject rst');
  expect(world.outcome('2001:db8::1', 443)).toBe('reject rst');
});

test('by-port: ports go to the places that the configuration names', async () => {
  const world = await run('by-port', { vars: { web: '10.0.0.10:8080', tls: '[fd00::10]:443' } });
  expect(world.outcome('192.0.2.1', 80)).toBe('forward 10.0.0.10:8080');
  expect(world.outcome('192.0.2.1', 22)).toBe('forward');
  expect(world.outcome('192.0.2.1', 25)).toBe('reject icmp no mail from this network');
  expect(world.outcome('192.0.2.1', 9999)).toBe('decline');
  expect(world.decide('192.0.2.1', 443)).toMatchObject({
    verdict: { kind: 'forward', to: { ip: 'fd00::10', port: 443, family: 6 }, proxyProtocol: 2 },
  });
  expect(world.outcome('192.0.2.1', 443, { protocol: 'udp' })).toBe('reject rst no QUIC here');
});

test('allow-list: only clients of the listed blocks and addresses pass', async () => {
  const world = await run('allow-list', { vars: { allow: '10.0.0.0/8 192.0.2.7 fd00::7' } });
  expect(world.outcome('192.0.2.1', 80, { source: '10.255.1.2' })).toBe('decline');
  expect(world.outcome('192.0.2.1', 80, { source: '192.0.2.7' })).toBe('decline');
  expect(world.outcome('fd00::1', 80, { source: 'fd00::7' })).toBe('decline');
  expect(world.outcome('192.0.2.1', 80, { source: '11.0.0.1' })).toBe('reject rst not on the list');
  expect(world.outcome('fd00::1', 80, { source: 'fd00::8' })).toBe('reject rst not on the list');
  expect(world.logs[0]).toMatchObject({ flow: 7, fields: { client: '11.0.0.1' } });
});

test('allow-list: an empty list lets nobody pass', async () => {
  const world = await run('allow-list');
  expect(world.outcome('192.0.2.1', 80, { source: '10.0.0.1' })).toBe('reject rst not on the list');
});

test('rate-limit: what is over the limit is dropped until the window has passed', async () => {
  const world = await run('rate-limit', { vars: { connections: '2' } });
  const client = { source: '10.0.0.1' };
  expect(world.outcome('192.0.2.1', 80, client)).toBe('decline');
  expect(world.outcome('192.0.2.1', 80, client)).toBe('decline');
  expect(world.outcome('192.0.2.1', 80, client)).toBe('reject drop too many connections');
  expect(world.outcome('192.0.2.1', 80, { source: '10.0.0.2' })).toBe('decline');
  world.advance(10_001);
  expect(world.outcome('192.0.2.1', 80, client)).toBe('decline');
});

test('protocols: DNS and pings are forwarded, the rest is NAT, and QUIC is refused', async () => {
  const world = await run('protocols', { vars: { resolver: '[fd00::53]:5353' } });
  expect(world.outcome('192.0.2.1', 80)).toBe('nat masquerade');
  expect(world.outcome('192.0.2.1', 0, { protocol: 'icmp' })).toBe('forward');
  expect(world.outcome('192.0.2.1', 443, { protocol: 'udp' })).toBe('reject rst no QUIC');
  expect(world.outcome('fd00::1', 53, { protocol: 'udp' })).toBe('forward [fd00::53]:5353');
  expect(world.decide('192.0.2.1', 123, { protocol: 'udp' })).toMatchObject({
    verdict: { kind: 'nat', masquerade: true, idleTimeoutMs: 300_000 },
  });
});
