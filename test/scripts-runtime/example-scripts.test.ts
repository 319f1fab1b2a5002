/** The scripts of scripts/: what they decide, their own tests, their types, and their pages. */
import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { bundleOf, readScriptFile } from '../../src/gateway/author/script-sources.ts';
import { checkTypes } from '../../src/gateway/author/type-check.ts';
import { parseConfig } from '../../src/gateway/config/load.ts';
import { runScriptTests } from '../../src/scripts-runtime/offline/run-tests.ts';
import { type LoadOptions, ScriptWorld } from './script-world.ts';

const ROOT = join(import.meta.dir, '../..');
const FOLDER = join(ROOT, 'scripts');
const PAGES = join(ROOT, 'docs/scripts');
const TIMEOUT_MS = 60_000;

const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => file.replace('.test.ts', ''))
  .sort();
const pageOf = (name: string): string => readFileSync(join(PAGES, `${name}.md`), 'utf8');

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

test('there are ten of them, each with its page, and the index leads to all', () => {
  expect(names.length).toBeGreaterThanOrEqual(10);
  const pages = readdirSync(PAGES).filter((file) => file !== 'README.md');
  expect(pages.sort()).toEqual(names.map((name) => `${name}.md`));
  const linked = pageOf('README').matchAll(/\]\(([a-z-]+)\.md\)/g);
  expect(Array.from(linked, ([, name]) => name).sort()).toEqual(names);
});

describe.each(names)('%s', (name) => {
  test(
    'its own tests pass',
    async () => {
      const report = await runScriptTests(bundleOf([readScriptFile(join(FOLDER, `${name}.ts`))]));
      const failures = report.files.flatMap(({ failure, tests }) => [
        failure?.message,
        ...tests.map((one) => one.failure && `${one.path.join(' ')}: ${one.failure.message}`),
      ]);
      expect(failures.filter((failure) => failure !== undefined)).toEqual([]);
      expect(report.passed).toBeGreaterThan(2);
    },
    TIMEOUT_MS,
  );

  test('the config on its page is one that is taken, and loads it', () => {
    const [, yaml = ''] = /^```yaml\n(.*?)^```/ms.exec(pageOf(name)) ?? [];
    const { load = [] } = parseConfig(yaml, `${name}.md`).scripts;
    expect(load.map(({ file }) => file)).toContain(`scripts/${name}.ts`);
  });
});

test(
  'they and their tests fit the types that `culvert types` prints, and need no others',
  () => {
    const files = names.flatMap((name) => [`${name}.ts`, `${name}.test.ts`]);
    const issues = checkTypes(new Map(files.map((file) => [file, join(FOLDER, file)])));
    const shown = issues?.map(
      ({ file, line, message }) => `${relative(ROOT, file)}:${line} ${message}`,
    );
    expect(shown).toEqual([]);
  },
  TIMEOUT_MS,
);
