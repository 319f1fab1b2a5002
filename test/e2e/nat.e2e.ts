/**
 * Flows that are rewritten, not ended: the kernel routes the client's packets into the TUN, the
 * gateway changes their addresses and hands them back, and the kernel routes them on.
 *
 *   client         gw                                                     server
 *     agent c0 ═══ g0 ─iif g0─► culvert0 [ culvert run ] ─main─► up0 ═══ dn0 agent
 *           c0 ═══ g0 ◄─main─── culvert0 [ culvert run ] ◄─pool─ up0 ═══ dn0
 *
 * The server sees 10.97.0.1 and fd97::1, the pool.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { NAT_ALL } from '../support/lanes.ts';
import { flowsTo } from '../support/live-flows.ts';
import { DNAT_PORT, routeRepliesThroughTun, SERVICE_PORT } from '../support/nat-network.ts';
import { whoAmI, whoAmIElsewhere } from '../support/nat-survey.ts';
import { FAMILIES, hostPort } from '../support/netns.ts';
import { gigabitsPerSecond, intact, transferBetween } from '../support/transfers.ts';
import type { UdpNews } from '../support/udp-socket.ts';
import { waitFor } from '../support/wait.ts';
import { expectWhole } from '../support/whole-flows.ts';
import { World } from '../support/world.ts';

const KIB = 1024;
const MB = 1_000_000;
const SIZES = [0, 1, 1447, 1448, 1449, 64 * KIB - 1, 64 * KIB + 1, 10 * MB];
const SILENCE: UdpNews = { error: 'SILENCE' };

describe.each([...FAMILIES])('$name', (family) => {
  const { server: host, pool } = family;
  let world: World;
  beforeAll(async () => {
    world = await World.startNat({ config: NAT_ALL, scripts: {} });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  const udpOpen = () => world.client.call('udpOpen', { family: family.version });
  const udpNext = (id: number, timeoutMs = 2000) => world.client.call('udpNext', { id, timeoutMs });

  test('the server sees the pool, the port of the client, and where it wanted to go', async () => {
    expect(await whoAmI(world, family)).toEqual({
      tcp: `${pool} 40001 ${host} PORT`,
      udp: `${pool} 40002`,
      udpAnswersFrom: true,
    });
  });

  test('a listener leads a port elsewhere, and the client does not see it', async () => {
    expect(await whoAmIElsewhere(world, family)).toEqual({
      tcp: `${pool} 40011 ${host.replace(/10$/, '20')} ${SERVICE_PORT}`,
      udpSource: pool,
      udpAnswersFrom: true,
    });
    const flows = await flowsTo(world.gateway, host, DNAT_PORT);
    expect(flows.map((flow) => flow.rule).toSorted()).toEqual([
      `elsewhere-tcp-${family.name}`,
      `elsewhere-udp-${family.name}`,
    ]);
    for (const flow of flows) expect(flow).toMatchObject({ verdict: 'nat', decider: 'listener' });
  });

  test.each(SIZES)('%d bytes up, down, and both ways at once arrive', async (size) => {
    for (const transfer of [
      { up: size, down: 0 },
      { up: 0, down: size },
      { up: size, down: size },
    ]) {
      const result = await transferBetween(world.client, world.server, host, transfer);
      expect(result).toMatchObject(intact(transfer));
    }
  });

  test('1 GB up and 1 GB down arrive', async () => {
    for (const transfer of [
      { up: 1000 * MB, down: 0 },
      { up: 0, down: 1000 * MB },
    ]) {
      const result = await transferBetween(world.client, world.server, host, transfer);
      expect(result).toMatchObject(intact(transfer));
      const rate = gigabitsPerSecond(1000 * MB, Math.max(result.client.ms, result.server.ms));
      console.log(`${family.name}, nat, ${JSON.stringify(transfer)}: ${rate.toFixed(1)} Gbit/s`);
    }
  });

  test('a reset by the server is a reset for the client', async () => {
    const port = await world.server.call('resetter', { port: 0 });
    const end = { send: 0, receive: 0, seed: 1, peerSeed: 2, sendWhen: 'after-fin' } as const;
    const report = await world.client.call('transfer', { host, port, ...end });
    expect(report).toMatchObject({ received: 0, fin: false, error: 'ECONNRESET' });
  });

  test('one socket is one address and port for all servers it speaks to', async () => {
    const neighbour = host.replace(/10$/, '30');
    const seen: string[] = [];
    const { id } = await udpOpen();
    for (const target of [host, neighbour, host]) {
      const port = await world.server.call('udpServe', { host: target, port: 0, kind: 'who' });
      await world.client.call('udpSend', { id, text: '?', to: { host: target, port } });
      const news = await udpNext(id);
      seen.push('text' in news ? news.text : news.error);
    }
    await world.client.call('udpClose', { id });
    expect(seen[0]).toStartWith(`${pool} `);
    expect(new Set(seen).size).toBe(1);
  });

  test('who was not spoken to does not get in, from its address or from another port', async () => {
    const { id } = await udpOpen();
    const port = await world.server.call('udpServe', { host, port: 0, kind: 'who' });
    await world.client.call('udpSend', { id, text: '?', to: { host, port } });
    const news = await udpNext(id);
    const mapped = Number('text' in news ? news.text.split(' ')[1] : 0);
    for (const from of [host, host.replace(/10$/, '40')]) {
      const open = { family: family.version, host: from };
      const stranger = await world.server.call('udpOpen', open);
      const to = { host: pool, port: mapped };
      await world.server.call('udpSend', { id: stranger.id, text: 'let me in', to });
      await world.server.call('udpClose', { id: stranger.id });
    }
    expect(await udpNext(id, 500)).toEqual(SILENCE);
    await world.client.call('udpClose', { id });
  });

  test('hairpin: two sockets behind the NAT reach each other by their outer ends', async () => {
    const port = await world.server.call('udpServe', { host, port: 0, kind: 'who' });
    const outer: number[] = [];
    const ids: number[] = [];
    for (let i = 0; i < 2; i++) {
      const { id } = await udpOpen();
      await world.client.call('udpSend', { id, text: '?', to: { host, port } });
      const news = await udpNext(id);
      ids.push(id);
      outer.push(Number('text' in news ? news.text.split(' ')[1] : 0));
    }
    const [a = 0, b = 0] = ids;
    const [aPort = 0, bPort = 0] = outer;
    const hello = { id: a, text: 'hello', to: { host: pool, port: bPort } };
    await world.client.call('udpSend', hello);
    const atB = { text: 'hello', bytes: 5, from: { host: pool, port: aPort } };
    expect(await udpNext(b)).toEqual(atB);
    await world.client.call('udpSend', { id: b, text: 'hi', to: { host: pool, port: aPort } });
    expect(await udpNext(a)).toEqual({ text: 'hi', bytes: 2, from: { host: pool, port: bPort } });
    for (const id of ids) await world.client.call('udpClose', { id });
  });

  test('a NAT flow that is killed is reset on both sides', async () => {
    const { topology, client, server, gateway } = world;
    const port = await server.call('echo', { port: 0 });
    const load = { host, port, flows: 2, blockBytes: 1000, intervalMs: 20 };
    const id = await client.call('hold', load);
    const flows = await flowsTo(gateway, host, port);
    expect(flows.map(({ verdict }) => verdict)).toEqual(['nat', 'nat']);
    for (const flow of flows) {
      expect((await gateway.api(`/v1/flows/${flow.id}`, { method: 'DELETE' })).ok).toBe(true);
    }
    expect((await client.call('holdEnded', { id })).errors).toEqual({ ECONNRESET: 2 });
    const open = () => topology.exec(topology.server, 'ss', '-Htn', `sport = :${port}`);
    await waitFor('the server to close', () => open() === '', 1000);
    await world.gateway.flowLog(host, port, 'killed');
  });

  test('kill -9 of the data plane: NAT flows and their outer ends stay', async () => {
    const port = await world.server.call('echo', { port: 0 });
    const load = { host, port, flows: 50, blockBytes: 1000, intervalMs: 20 };
    const held = await world.client.call('hold', load);
    const who = await world.server.call('udpServe', { host, port: 0, kind: 'who' });
    const { id } = await udpOpen();
    await world.client.call('udpSend', { id, text: '?', to: { host, port: who } });
    const before = await udpNext(id);
    expect(before).toMatchObject({ from: { host, port: who } });

    const [pid = 0] = world.gateway.children('__data-plane');
    process.kill(pid, 'SIGKILL');
    await waitFor('another data plane', () => {
      const [other] = world.gateway.children('__data-plane');
      return other !== undefined && other !== pid;
    });
    await world.gateway.ready();
    const after = await waitFor('an answer over the same flow', async () => {
      await world.client.call('udpSend', { id, text: '?', to: { host, port: who } });
      const news = await udpNext(id, 500);
      return 'text' in news && news;
    });
    expect<UdpNews>(after).toEqual(before);
    const report = await world.client.call('holdStop', { id: held });
    expectWhole(report, load.flows);
    await world.client.call('udpClose', { id });
  });
});

test.each([...FAMILIES])(
  'without masquerade the server sees the client over $name',
  async (family) => {
    await using world = await World.startNat({
      config: {
        listeners: [{ name: 'all', protocol: 'any', action: 'nat', masquerade: false }],
        nat: { addresses: [] },
      },
      scripts: {},
    });
    routeRepliesThroughTun(world.topology);
    const client = family.name === 'IPv6' ? 'fd88:1::2' : '10.88.1.2';
    expect(await whoAmI(world, family)).toEqual({
      tcp: `${client} 40001 ${family.server} PORT`,
      udp: `${client} 40002`,
      udpAnswersFrom: true,
    });
    const transfer = { up: MB, down: MB };
    const result = await transferBetween(world.client, world.server, family.server, transfer);
    expect(result).toMatchObject(intact(transfer));
  },
);

test.each([...FAMILIES])('a script leads flows elsewhere by nat over $name', async (family) => {
  const target = hostPort(family.server.replace(/10$/, '20'), SERVICE_PORT);
  await using world = await World.startNat({
    scripts: {
      elsewhere: `
        import { decline, nat } from "culvert";
        export default {
          flow(f) { return f.dst.port === ${DNAT_PORT} ? nat("${target}") : decline(); },
        };`,
      rest: 'import { nat } from "culvert"; export default { flow() { return nat(); } };',
    },
  });
  expect(await whoAmIElsewhere(world, family)).toMatchObject({ udpSource: family.pool });
  expect(await whoAmI(world, family)).toMatchObject({ udp: `${family.pool} 40002` });
  const flows = await flowsTo(world.gateway, family.server, DNAT_PORT);
  expect(flows).toHaveLength(2);
  for (const flow of flows) expect(flow).toMatchObject({ verdict: 'nat', script: 'elsewhere' });
});

describe.each([true, false])('iperf3 through nat with offload %p', (offload) => {
  test.each([...FAMILIES])('both ways over $name', async ({ name, server: host }) => {
    await using world = await World.startNat({
      config: { ...NAT_ALL, device: { offload } },
      scripts: {},
    });
    const { topology } = world;
    topology.spawn(topology.server, ['iperf3', '-s', '-B', host]);
    for (const direction of ['', '-R']) {
      const args = ['-c', host, '-t', '2', '-J', ...(direction === '' ? [] : [direction])];
      const bits = await waitFor('iperf3', async () => {
        const { stdout } = await topology.run(topology.client, 'iperf3', ...args);
        return JSON.parse(stdout).end.sum_received?.bits_per_second as number | undefined;
      });
      console.log(
        `${name}, offload ${offload}, nat ${direction}: ${(bits / 1e9).toFixed(2)} Gbit/s`,
      );
      expect(bits).toBeGreaterThan(20e6);
    }
  });
});
