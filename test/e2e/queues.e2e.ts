/**
 * A device with several queues, each with a data plane of its own.
 *
 *   client                     gw                               server
 *     agent ── culvert0 ═╦═ [ data plane 0 ]        up0 ═══ dn0 ── echo
 *                        ╚═ [ data plane 1 ]
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILIES } from '../support/netns.ts';
import { intact, transferBetween } from '../support/transfers.ts';
import { waitFor } from '../support/wait.ts';
import { expectWhole } from '../support/whole-flows.ts';
import { World } from '../support/world.ts';

const MB = 1_000_000;
const FLOWS = 200;
/** The kernel forgets after three seconds which queue a flow was answered over. */
const FORGETS_MS = 4_500;
const ECHO_PORT = 7777;
const device = { queues: 2 };

const SCRIPT = `
import { claim, forward, nat } from "culvert";
export default {
  flow(f) {
    if (f.dst.port === ${ECHO_PORT}) return claim();
    return f.proto === "udp" ? nat() : forward();
  },
  async connect(conn) {
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
      await conn.write(bytes);
    }
    await conn.closeWrite();
  },
};
`;

/** Live flows by queue. */
const flowsByQueue = (world: World): Promise<number[]> =>
  Promise.all([0, 1].map((n) => world.gateway.metric(`culvert_queue_flows_active{queue="${n}"}`)));

describe.each([...FAMILIES])('$name', ({ server: host }) => {
  let world: World;
  beforeAll(async () => {
    world = await World.start({ config: { device }, scripts: { all: SCRIPT } });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  test('both carry flows, and every byte comes back, also after a silence', async () => {
    const port = await world.server.call('echo', { port: 0 });
    const load = { host, port, flows: FLOWS, blockBytes: 3001, intervalMs: FORGETS_MS };
    const id = await world.client.call('hold', load);
    const each = await flowsByQueue(world);
    expect(each[0]! + each[1]!).toBe(FLOWS);
    expect(Math.min(...each)).toBeGreaterThan(FLOWS / 5);
    await Bun.sleep(FORGETS_MS + 1000);
    const report = await world.client.call('holdStop', { id });
    expectWhole(report, FLOWS);
    expect(report.fewestRounds).toBeGreaterThan(1);
  });

  test('long transfers arrive whole', async () => {
    const both = { up: 50 * MB, down: 50 * MB };
    const results = await Promise.all(
      [1, 2, 3, 4].map(() => transferBetween(world.client, world.server, host, both)),
    );
    for (const result of results) expect(result).toMatchObject(intact(both));
  });

  test('scripts talk to connections of both, and lose those of the one that dies', async () => {
    const load = { host, port: ECHO_PORT, flows: 40, blockBytes: 1000, intervalMs: 20 };
    const id = await world.client.call('hold', load);
    const before = await flowsByQueue(world);
    expect(Math.min(...before)).toBeGreaterThan(0);
    const [pid = 0] = world.gateway.children('__data-plane');
    process.kill(pid, 'SIGKILL');
    await waitFor('another data plane', async () => {
      const pids = world.gateway.children('__data-plane');
      return pids.length === 2 && !pids.includes(pid) && (await world.gateway.api('/readyz')).ok;
    });
    await Bun.sleep(500);
    const left = await world.client.call('holdLive', { id });
    expect(before).toContain(left);
    const report = await world.client.call('holdStop', { id });
    expect(report).toMatchObject({ errors: { ECONNRESET: load.flows - left }, wrong: 0 });
    const next = await world.client.call('hold', load);
    expectWhole(await world.client.call('holdStop', { id: next }), load.flows);
  });

  test('flows of both are listed, found and ended', async () => {
    const port = await world.server.call('echo', { port: 0 });
    const load = { host, port, flows: 20, blockBytes: 100, intervalMs: 1000 };
    const id = await world.client.call('hold', load);
    const filter = encodeURIComponent(`dport = ${port}`);
    const { flows } = await world.gateway.json<{ flows: { id: string }[] }>(
      `/v1/flows?filter=${filter}`,
    );
    expect(new Set(flows.map((flow) => flow.id)).size).toBe(load.flows);
    for (const flow of flows.slice(0, 4)) {
      expect((await world.gateway.api(`/v1/flows/${flow.id}`)).ok).toBe(true);
      expect((await world.gateway.api(`/v1/flows/${flow.id}`, { method: 'DELETE' })).ok).toBe(true);
    }
    const ended = await world.gateway.json<{ killed: number }>(`/v1/flows?filter=${filter}`, {
      method: 'DELETE',
    });
    expect(ended.killed).toBe(load.flows - 4);
    // A client that was just writing may see the end of the stream behind its error.
    const { errors } = await world.client.call('holdEnded', { id });
    expect(Object.values(errors).reduce((sum, count) => sum + count, 0)).toBe(load.flows);
  });
});

test('masqueraded datagrams come back, also after a silence', async () => {
  const listeners = [{ name: 'out', protocol: 'any', action: 'nat' }] as const;
  await using world = await World.startNat({ config: { device, listeners: [...listeners] } });
  for (const { server: host, pool, version: family } of FAMILIES) {
    const port = await world.server.call('udpServe', { host, port: 0, kind: 'who' });
    const to = { host, port };
    const sockets = await Promise.all(
      Array.from({ length: 20 }, () => world.client.call('udpOpen', { family, to })),
    );
    const seen: string[] = [];
    for (const round of [1, 2]) {
      for (const { id } of sockets) {
        await world.client.call('udpSend', { id, text: String(round) });
        const news = await world.client.call('udpNext', { id, timeoutMs: 3000 });
        seen.push('text' in news ? news.text : news.error);
      }
      await Bun.sleep(FORGETS_MS);
    }
    for (const who of seen) expect(who).toStartWith(`${pool} `);
    expect(new Set(seen).size).toBe(sockets.length);
  }
});

test('a drain waits for the flows of both', async () => {
  await using world = await World.start({ config: { device, drain: '10s' } });
  const host = FAMILIES[0]?.server ?? '';
  const port = await world.server.call('echo', { port: 0 });
  const load = { host, port, flows: 20, blockBytes: 1000, intervalMs: 50 };
  const id = await world.client.call('hold', load);
  world.gateway.signal('SIGTERM');
  await waitFor('the drain', async () => !(await world.gateway.api('/readyz')).ok);
  expect(await world.client.call('holdLive', { id })).toBe(load.flows);
  const report = await world.client.call('holdStop', { id });
  expectWhole(report, load.flows);
  expect(await world.gateway.exited).toBe(0);
});
