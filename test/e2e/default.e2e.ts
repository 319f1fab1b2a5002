/**
 * The embedded default, as somebody meets it in the first minute: one file, no config, no
 * repository, no Bun and no Node.
 *
 *   gw
 *     [ culvert run ] ── culvert0 198.18.0.1/15 ── curl 198.18.0.80   the welcome page
 *                                                  curl 198.18.0.81   the host's own loopback
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { Agent } from '../support/agent-handle.ts';
import { culvertBinary, Gateway, writeText } from '../support/gateway.ts';
import { Topology } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';

const WELCOME = 'http://198.18.0.80/';
const WELCOME6 = 'http://[fdc0:c01e::80]/';

let topology: Topology;
let gateway: Gateway;
beforeAll(async () => {
  topology = Topology.create();
  gateway = await Gateway.start(topology);
});
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]();
  await topology[Symbol.asyncDispose]();
});

const curl = async (url: string) => topology.run(topology.gw, 'curl', '-sS', '-m', '5', url);

test('it prints commands to try', async () => {
  await waitFor('the commands', () => gateway.output.includes('198.18.0.80'));
  expect(gateway.output).toContain('curl');
});

test.each([WELCOME, WELCOME6])('%s is the welcome page, and names the script', async (url) => {
  const page = await curl(url);
  expect(page).toMatchObject({ code: 0 });
  expect(page.stdout).toContain('default');
});

test('the welcome address answers ping', async () => {
  for (const address of ['198.18.0.80', 'fdc0:c01e::80']) {
    const ping = await topology.run(topology.gw, 'ping', '-c1', '-W2', address);
    expect(ping.stdout).toContain('1 received');
  }
});

test('198.18.0.81 leads to the same port of the host', async () => {
  const agent = await Agent.start(topology, topology.gw);
  const port = await agent.call('http', { port: 0, text: 'my own service' });
  expect(await curl(`http://198.18.0.81:${port}/`)).toMatchObject({ stdout: 'my own service' });
});

test('everything else is refused', async () => {
  const agent = await Agent.start(topology, topology.gw);
  for (const host of ['198.18.0.99', 'fdc0:c01e::99']) {
    const result = await agent.call('connect', { host, port: 80, timeoutMs: 3000 });
    expect(result).toMatchObject({ open: false, code: 'ECONNREFUSED' });
  }
});

test('editing the script and `culvert reload` changes the answer', async () => {
  const file = join(gateway.folder, 'scripts/default.ts');
  const source = await Bun.file(file).text();
  const greeting = /GREETING = '(?<text>[^']+)'/.exec(source)?.groups?.['text'] ?? '';
  expect((await curl(WELCOME)).stdout).toContain(greeting);
  const edited = source.replace(greeting, 'Hello from an edit');
  expect(edited).not.toBe(source);
  writeText(file, edited);
  expect(await gateway.cli('reload')).toMatchObject({ code: 0 });
  const page = await curl(WELCOME);
  writeText(file, source);
  expect(page.stdout).toContain('Hello from an edit');
});

test('culvert version --json tells version, commit, Bun and the kernel', async () => {
  const { code, stdout } = await topology.run(topology.gw, culvertBinary(), 'version', '--json');
  expect(code).toBe(0);
  const version = JSON.parse(stdout);
  expect(version).toMatchObject({ version: expect.any(String), commit: expect.any(String) });
  expect(version.bun).toBe(Bun.version);
  expect(JSON.stringify(version)).toContain('tun');
});

test('SIGTERM ends it with exit code 0, and the device is gone', async () => {
  expect(await gateway.stop()).toBe(0);
  expect(topology.ip(topology.gw, '-br link')).not.toContain('culvert0');
});
