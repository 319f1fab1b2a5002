/**
 * Upstreams by name: proxies that reach what the gateway has no route to, and pools whose addresses
 * come and go.
 *
 *   client                    gw                        server
 *     agent ── culvert0 ── [ culvert run ] ── up0 ═══ dn0 ── SOCKS5, CONNECT ── services that
 *                               │                       │      only the proxies reach
 *                               └─ no route             └─ the addresses of a pool
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { ConfigInput } from '../../src/gateway/config/schema.ts';
import type { AddressReport } from '../../src/gateway/messages/upstreams.ts';
import { Agent } from '../support/agent-handle.ts';
import { Gateway } from '../support/gateway.ts';
import { FAMILIES, hostPort, IPV4, IPV6, Topology } from '../support/netns.ts';
import { intact, transferBetween } from '../support/transfers.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const PORTS = { socks5: 1080, http: 3128, locked: 1081 };
const LOGIN = { user: 'ann', password: 'p@ss:word' };
const CLOSED_PORT = 9;
const TRANSFER = { up: 3_000_000, down: 3_000_000 };
const TUN_NAME = 'culvert0';

interface UpstreamAnswer {
  readonly upstreams: readonly {
    readonly name: string;
    readonly healthy: boolean;
    readonly connects: number;
    readonly failures: number;
    readonly addresses: readonly AddressReport[];
  }[];
}

const upstreamOf = async (world: World, name: string) => {
  const { upstreams } = await world.gateway.json<UpstreamAnswer>('/v1/upstreams');
  const found = upstreams.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no upstream ${name}`);
  return found;
};

describe.each([
  ['socks5', `socks5://${hostPort(IPV4.server, PORTS.socks5)}`],
  ['socks5', `socks5://${hostPort(IPV6.server, PORTS.socks5)}`],
  ['http', `http://${hostPort(IPV4.server, PORTS.http)}`],
] as const)('a proxy of %s, %s', (kind, proxy) => {
  let world: World;
  beforeAll(async () => {
    const config: ConfigInput = {
      timeouts: { connect: '3s' },
      upstreams: { out: { proxy } },
      listeners: [{ name: 'all', action: 'forward', via: 'out' }],
    };
    world = await World.start({ config });
    const { topology, server } = world;
    // Only whoever stands there reaches them.
    topology.ip(topology.server, `addr add ${IPV4.noRoute}/32 dev lo`);
    topology.ip(topology.server, `-6 addr add ${IPV6.noRoute}/128 dev lo`);
    await server.call(kind === 'http' ? 'httpProxy' : 'socks5', { port: PORTS[kind] });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  describe.each([...FAMILIES])('$name', ({ noRoute, blackHole }) => {
    test('bytes arrive where the gateway has no route to, and both ends', async () => {
      const result = await transferBetween(world.client, world.server, noRoute, TRANSFER);
      expect(result).toMatchObject(intact(TRANSFER));
    });

    test('a half-closed connection goes on in the other direction', async () => {
      const transfer = { up: 100_000, down: 100_000, waits: 'server' as const };
      const result = await transferBetween(world.client, world.server, noRoute, transfer);
      expect(result).toMatchObject(intact(transfer));
    });

    test('a closed port of the target refuses the client', async () => {
      const host = noRoute;
      const result = await world.client.call('connect', {
        ...{ host, port: CLOSED_PORT, timeoutMs: 5000 },
      });
      expect(result).toMatchObject({ open: false, code: 'ECONNREFUSED' });
      const line = await world.gateway.flowLog(
        host,
        CLOSED_PORT,
        kind === 'http' ? 'dial-failed' : 'dial-refused',
      );
      expect(line).toMatchObject({ upstream: 'out', upstream_addr: hostPort(host, CLOSED_PORT) });
    });

    test('a target that does not answer is told as unreachable when the time is over', async () => {
      const host = blackHole;
      const result = await world.client.call('connect', { host, port: 80, timeoutMs: 10_000 });
      expect(result.code).toMatch(/^E(HOST|NET)UNREACH$/);
    });
  });

  test('the API and the metrics say how it is', async () => {
    await waitFor('the report', async () => (await upstreamOf(world, 'out')).connects >= 4);
    expect((await upstreamOf(world, 'out')).healthy).toBe(true);
    expect(await world.gateway.metric('culvert_upstream_healthy{upstream="out"}')).toBe(1);
  });

  test('a proxy that is gone refuses the client', async () => {
    await world.server.call('stopProxy', { port: PORTS[kind] });
    const result = await world.client.call('connect', {
      ...{ host: IPV4.noRoute, port: 80, timeoutMs: 5000 },
    });
    expect(result).toMatchObject({ open: false, code: 'ECONNREFUSED' });
  });
});

test('user and password are told to a proxy that asks, and a wrong one is refused', async () => {
  const locked = hostPort(IPV4.server, PORTS.locked);
  await using world = await World.start({
    config: {
      upstreams: {
        right: { proxy: `socks5://ann:${encodeURIComponent(LOGIN.password)}@${locked}` },
        wrong: { proxy: `socks5://ann:guess@${locked}` },
      },
      listeners: [
        { name: 'right', ports: 7001, action: 'forward', to: IPV4.server, via: 'right' },
        { name: 'wrong', ports: 7002, action: 'forward', to: IPV4.server, via: 'wrong' },
      ],
    },
  });
  const { server, client, gateway } = world;
  await server.call('socks5', { port: PORTS.locked, login: LOGIN });
  await server.call('who', { port: 7001 });
  await server.call('who', { port: 7002 });
  expect(await client.call('ask', { host: IPV4.noRoute, port: 7001 })).toContain(IPV4.server);
  const result = await client.call('connect', { host: IPV4.noRoute, port: 7002, timeoutMs: 5000 });
  expect(result).toMatchObject({ open: false, code: 'ECONNREFUSED' });
  await gateway.flowLog(IPV4.noRoute, 7002, 'proxy-failed');
});

test('`--proxy` without a config sends all TCP there', async () => {
  await using topology = Topology.create();
  await using gateway = await Gateway.start(topology, {
    args: ['--proxy', `socks5://${hostPort(IPV4.server, PORTS.socks5)}`, '--log-format', 'json'],
  });
  topology.moveToClient(TUN_NAME, 1500);
  await gateway.ready();
  const client = await Agent.start(topology, topology.client);
  const server = await Agent.start(topology, topology.server);
  await server.call('socks5', { port: PORTS.socks5 });
  const port = await server.call('who', { port: 0 });
  // The proxy stands beside the target: it is its own address that the target sees.
  const answer = await client.call('ask', { host: IPV4.server, port });
  expect(answer.split(' ')[0]).toBe(IPV4.server);
  const line = await gateway.flowLog(IPV4.server, port, 'eof');
  expect(line).toMatchObject({ upstream: 'proxy', rule: 'proxied' });
  expect(gateway.output).not.toContain('curl');
}, 30_000);

describe('a pool', () => {
  const ports = [7101, 7102, 7103] as const;
  const addresses = ports.map((port) => hostPort(IPV4.server, port));
  const pool = { addresses, health: { after: 2, for: '2s' } };
  const config: ConfigInput = {
    upstreams: {
      turns: { ...pool, policy: 'round-robin' },
      least: { ...pool, policy: 'least-connections' },
      hash: { ...pool, policy: 'source-hash' },
      first: { ...pool, policy: 'failover' },
      both: { addresses: [hostPort(IPV6.server, 7103)] },
    },
    listeners: (
      [
        [8001, 'turns'],
        [8002, 'least'],
        [8003, 'hash'],
        [8004, 'first'],
        [8005, 'both'],
      ] as const
    ).map(([port, via]) => ({ name: via, ports: port, action: 'forward', via })),
  };
  const SCRIPT = `
import { claim, connect, forward } from "culvert";
export default {
  flow({ dst }) {
    if (dst.port === 8012) return claim();
    return forward(undefined, { via: dst.port === 8010 ? "turns" : "none" });
  },
  async connect(conn) {
    const up = connect(undefined, { via: "turns" });
    await up.opened;
    await conn.splice(up);
  },
};
`;
  let world: World;
  beforeAll(async () => {
    world = await World.start({ config, scripts: { route: SCRIPT } });
    for (const port of ports) await world.server.call('who', { port });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  /** The ports of the server that so many connections in a row end at. */
  async function ends(port: number, count: number): Promise<number[]> {
    const found: number[] = [];
    for (let i = 0; i < count; i++) {
      const answer = await world.client.call('ask', { host: '203.0.113.80', port });
      found.push(Number(answer.split(' ')[3]));
    }
    return found;
  }

  async function reconfigure(changed: ConfigInput): Promise<void> {
    const file = join(world.gateway.folder, 'config.yaml');
    const device = { name: TUN_NAME, mtu: 1500 };
    const scripts = { load: [{ name: 'route', file: 'scripts/route.ts' }] };
    writeFileSync(file, stringify({ ...changed, device, scripts }));
    const { code, stderr } = await world.gateway.cli('reload', '--wait', '10s');
    if (code !== 0) throw new Error(`the reload failed: ${stderr}`);
  }

  const turn = (found: readonly number[]) => found.toSorted((a, b) => a - b);

  test('round-robin spreads evenly', async () => {
    expect(turn(await ends(8001, 6))).toEqual([7101, 7101, 7102, 7102, 7103, 7103]);
  });

  test('source-hash keeps a client where it is', async () => {
    expect(new Set(await ends(8003, 5)).size).toBe(1);
  });

  test('failover takes the first', async () => {
    expect(await ends(8004, 3)).toEqual([7101, 7101, 7101]);
  });

  test('an IPv4 client reaches an IPv6 address', async () => {
    expect(await ends(8005, 1)).toEqual([7103]);
  });

  test('a script names it', async () => {
    expect(turn(await ends(8010, 3))).toEqual([7101, 7102, 7103]);
  });

  test('a script that has claimed a connection dials it', async () => {
    expect(turn(await ends(8012, 3))).toEqual([7101, 7102, 7103]);
    const line = await world.gateway.flowLog('203.0.113.80', 8012, 'eof');
    expect(line).toMatchObject({ upstream: 'turns', verdict: 'claim' });
  });

  test('one that is not there refuses the flow of a script, and the log tells', async () => {
    const result = await world.client.call('connect', {
      ...{ host: '203.0.113.80', port: 8011, timeoutMs: 5000 },
    });
    expect(result).toMatchObject({ open: false, code: 'ECONNREFUSED' });
    await waitFor('the log line', async () =>
      world.gateway.logs.some(({ msg }) => String(msg).includes('there is no upstream "none"')),
    );
  });

  test('`culvert explain` and `culvert upstreams` tell of it', async () => {
    const explained = await world.gateway.cli('explain', '10.88.0.2', '203.0.113.80:8004');
    expect(explained.stdout).toContain('via=first');
    const listed = await world.gateway.cli('upstreams');
    expect(listed.stdout).toContain('least-connections');
  });

  test('an address that dies is left out, no client hears of it, and it comes back', async () => {
    await world.server.call('unlisten', { port: 7101 });
    expect(await ends(8004, 4)).toEqual([7102, 7102, 7102, 7102]);
    await waitFor('the address to be down', async () => {
      const {
        addresses: [first],
      } = await upstreamOf(world, 'first');
      return first?.healthy === false && first.failures === 2;
    });
    const status = await world.gateway.cli('status');
    expect(status.stdout).toContain('upstreams   5 healthy');
    await world.server.call('who', { port: 7101 });
    await waitFor('the first address to serve again', async () => {
      const [port] = await ends(8004, 1);
      return port === 7101;
    });
    await waitFor(
      'the report',
      async () => (await upstreamOf(world, 'first')).addresses[0]?.healthy,
    );
  });

  test('a reload changes the addresses, and flows that live go on', async () => {
    const echo = await world.server.call('echo', { port: 0 });
    await reconfigure({
      ...config,
      upstreams: { ...config.upstreams, first: { addresses: [hostPort(IPV4.server, echo)] } },
    });
    const flows = await world.client.call('hold', {
      ...{ host: '203.0.113.80', port: 8004, flows: 4, blockBytes: 1000, intervalMs: 20 },
    });
    await reconfigure(config);
    expect(await ends(8004, 2)).toEqual([7101, 7101]);
    expect(await world.client.call('holdLive', { id: flows })).toBe(4);
    await world.client.call('holdStop', { id: flows });
  });
});
