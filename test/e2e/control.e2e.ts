/**
 * The admin API and the command line against a gateway that runs: what is wrong is told with its
 * place, and changes nothing.
 *
 *   client                    gw                        server
 *     agent ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── echo
 *                               ▲ admin.sock
 *                               └── HTTP, culvert reload, culvert check, SIGHUP
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { Gateway, writeText } from '../support/gateway.ts';
import { IPV4, IPV6, Topology } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { FORWARD_ALL, World } from '../support/world.ts';

const REJECT_ALL = `
import { reject } from "culvert";
export default { flow() { return reject(); } };
`;
/** The error stands in line 4. */
const SYNTAX_ERROR = `
import { forward } from "culvert";
export default {
  flow() { return forward( }
};
`;
/** The error stands in line 3, and only running the module shows it. */
const LOAD_ERROR = `
import { forward } from "culvert";
undefined.property;
export default { flow() { return forward(); } };
`;

let world: World;
let port: number;
beforeAll(async () => {
  world = await World.start();
  port = await world.server.call('echo', { port: 0 });
});
afterAll(() => world?.[Symbol.asyncDispose]());

const isOpen = async (host: string): Promise<boolean> =>
  (await world.client.call('connect', { host, port, timeoutMs: 5000 })).open;
const etag = async (): Promise<string | null> =>
  (await world.gateway.api('/v1/scripts/all')).headers.get('etag');

interface Problem {
  readonly detail?: string;
  readonly errors?: readonly { message: string; line?: number; column?: number }[];
}

test('a reload takes bounds that are only compared with, and they outlive a crash', async () => {
  const limits = (value: object) =>
    world.gateway.api('/v1/config', {
      method: 'PATCH',
      body: JSON.stringify({ limits: value }),
      headers: { 'If-Match': '*', 'Content-Type': 'application/merge-patch+json' },
    });
  const held = () => world.gateway.metric('culvert_tcp_syn_in_flight_limit{scope="global"}');
  const before = await held();
  const lower = { heldSyns: 64, timeWait: 10, sessions: 20, slabBytesPerFlow: '1MiB' };
  expect((await limits(lower)).status).toBe(200);
  // Of a device with several queues it is the sum of their parts.
  await waitFor('the bound', async () => (await held()) === 64 || undefined);
  expect(await isOpen(IPV4.server)).toBe(true);
  for (const pid of world.gateway.children('__data-plane')) process.kill(pid, 'SIGKILL');
  await world.gateway.waitForLog('the end', ({ msg }) => msg === 'data-plane-exited');
  await world.gateway.ready();
  expect(await held()).toBe(64);
  expect(await isOpen(IPV6.server)).toBe(true);
  const none = { heldSyns: null, timeWait: null, sessions: null, slabBytesPerFlow: null };
  expect((await limits(none)).status).toBe(200);
  await waitFor('the bound before', async () => (await held()) === before || undefined);
  const refused = await limits({ flows: 70_000, slabBytes: '300MiB', heldSyns: 64 });
  expect(refused.status).toBe(409);
  expect(await refused.json()).toMatchObject({
    errors: [{ path: 'limits.flows' }, { path: 'limits.slabBytes' }],
  });
  expect(await held()).toBe(before);
});

describe('scripts over HTTP', () => {
  test('a new script decides new flows, and a rollback brings the old one back', async () => {
    expect(await isOpen(IPV4.server)).toBe(true);
    expect((await world.gateway.putScript('all', REJECT_ALL)).ok).toBe(true);
    expect(await isOpen(IPV4.server)).toBe(false);
    expect(await isOpen(IPV6.server)).toBe(false);
    const rollback = { method: 'POST', headers: { 'If-Match': '*' } };
    expect((await world.gateway.api('/v1/rollback', rollback)).ok).toBe(true);
    expect(await isOpen(IPV4.server)).toBe(true);
    expect(await isOpen(IPV6.server)).toBe(true);
  });

  test.each([
    ['that does not parse', SYNTAX_ERROR, 4],
    ['that throws while it loads', LOAD_ERROR, 3],
  ])('a script %s is refused with its line, and changes nothing', async (_, source, line) => {
    const before = await etag();
    const response = await world.gateway.putScript('all', source);
    expect(response.status).toBe(422);
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    const problem = (await response.json()) as Problem;
    expect(problem.errors?.[0]).toMatchObject({ line });
    expect(await etag()).toBe(before);
    expect(await isOpen(IPV4.server)).toBe(true);
  });

  test('a write without If-Match is refused, and so is one with an old ETag', async () => {
    const put = (headers: Record<string, string>) =>
      world.gateway.api('/v1/scripts/all', { method: 'PUT', body: REJECT_ALL, headers });
    expect((await put({})).status).toBe(428);
    expect((await put({ 'If-Match': '"0-0"' })).status).toBe(412);
    expect(await isOpen(IPV4.server)).toBe(true);
  });

  test('a body that is too large, and a name that is none, are refused', async () => {
    const large = `${FORWARD_ALL}// ${'x'.repeat(3 * 1024 * 1024)}`;
    expect((await world.gateway.putScript('all', large)).status).toBe(413);
    expect((await world.gateway.putScript('..%2Fetc', FORWARD_ALL)).status).toBeOneOf([400, 404]);
    expect(await isOpen(IPV4.server)).toBe(true);
  });
});

describe('flows over HTTP', () => {
  test.each([IPV4, IPV6])(
    'a flow over $name is listed, and DELETE resets it',
    async ({ server }) => {
      const load = { host: server, port, flows: 1, blockBytes: 100, intervalMs: 10 };
      const hold = await world.client.call('hold', load);
      const flow = await waitFor('the flow in the list', async () => {
        const { flows } = await world.gateway.json<{ flows: Record<string, unknown>[] }>(
          '/v1/flows',
        );
        return flows.find((one) => one['dst'] === server && one['phase'] === 'open');
      });
      expect(flow).toMatchObject({
        proto: 'tcp',
        dst_port: port,
        verdict: 'forward',
        script: 'all',
      });
      const id = String(flow['id']);
      expect((await world.gateway.api(`/v1/flows/${id}`, { method: 'DELETE' })).ok).toBe(true);
      const report = await world.client.call('holdEnded', { id: hold });
      expect(report.errors).toEqual({ ECONNRESET: 1 });
      await world.gateway.flowLog(server, port, 'killed');
    },
  );

  test('health, metrics and drops answer', async () => {
    expect((await world.gateway.api('/healthz')).status).toBe(200);
    expect((await world.gateway.api('/readyz')).status).toBe(200);
    expect(await world.gateway.metric('culvert_flows_total')).toBeGreaterThan(0);
    expect((await world.gateway.api('/v1/drops')).status).toBe(200);
  });
});

describe('files and signals', () => {
  const script = () => join(world.gateway.folder, 'scripts/all.ts');
  const config = () => join(world.gateway.folder, 'config.yaml');

  test('SIGHUP reads the scripts again', async () => {
    writeText(script(), REJECT_ALL);
    world.gateway.signal('SIGHUP');
    await waitFor('the new script', async () => !(await isOpen(IPV4.server)));
    writeText(script(), FORWARD_ALL);
    expect(await world.gateway.cli('reload')).toMatchObject({ code: 0 });
    expect(await isOpen(IPV4.server)).toBe(true);
  });

  test('culvert reload of a broken script fails with its place, and changes nothing', async () => {
    writeText(script(), SYNTAX_ERROR);
    const reload = await world.gateway.cli('reload');
    expect(reload.code).toBe(4);
    expect(reload.stderr).toMatch(/all\.ts:4:\d+/);
    expect(await isOpen(IPV4.server)).toBe(true);
    writeText(script(), FORWARD_ALL);
  });

  test('culvert reload of a broken config fails with its place, and changes nothing', async () => {
    const good = await Bun.file(config()).text();
    writeText(config(), `${good}\nlisteners:\n  - name: x\n    action: explode\n`);
    const reload = await world.gateway.cli('reload');
    writeText(config(), good);
    expect(reload.code).toBe(4);
    expect(reload.stderr).toMatch(/config\.yaml:\d+:\d+: listeners\[0\]\.action/);
    expect(await isOpen(IPV4.server)).toBe(true);
  });

  test('culvert status, flows and healthcheck speak to the gateway', async () => {
    expect(await world.gateway.cli('status')).toMatchObject({ code: 0 });
    expect(await world.gateway.cli('healthcheck')).toMatchObject({ code: 0 });
    const flows = await world.gateway.cli('flows', '--json');
    expect(flows.code).toBe(0);
    expect(() => JSON.parse(flows.stdout)).not.toThrow();
  });
});

describe('a gateway that cannot start', () => {
  test.each([
    ['an unknown key', { config: { device: { colour: 'red' } } }, /device\.colour/],
    ['a script that does not parse', { config: {}, scripts: { bad: SYNTAX_ERROR } }, /bad\.ts:4:/],
    ['a device name of the kernel', { config: { device: { name: 'lo' } } }, /\blo\b/],
  ])('%s: it says so and ends with exit code 1', async (_, options, message) => {
    await using topology = Topology.create();
    await using gateway = await Gateway.start(topology, { ...(options as object), wait: false });
    expect(await gateway.exited).toBe(1);
    await waitFor('its last words', () => message.test(gateway.transcript()));
    expect(topology.ip(topology.gw, '-br link')).not.toContain('culvert0');
  });
});
