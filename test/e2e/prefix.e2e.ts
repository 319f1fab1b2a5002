/**
 * IPv6 prefixes that are translated into each other, RFC 6296, between the stacks of two kernels:
 * what the client can do is what it can do without any translation.
 *
 *   client            gw                                                      server, far
 *     fd88:1::2 ═══ g0 ─iif g0─► culvert0 [ culvert run ] ─main─► up0 ═══ dn0
 *               ═══ g0 ◄─main─── culvert0 [ culvert run ] ◄─fd97:1::/64─ up0
 *
 * The server sees fd97:1::/64.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { Agent } from '../support/agent-handle.ts';
import * as survey from '../support/nat-survey.ts';
import { IPV6, Topology } from '../support/netns.ts';
import { intact, transferBetween } from '../support/transfers.ts';
import { World } from '../support/world.ts';

const MB = 1_000_000;
const INSIDE = 'fd88:1::/64';
const OUTSIDE = 'fd97:1::/64';
/** Of fd88:1::2: the first word of the identifier makes up for what the prefix adds. */
const SEEN = 'fd97:1::fff0:0:0:2';
/** Of gw: a packet goes through its kernel twice, and through the gateway. */
const OWN_HOPS = ['fd88:1::1', 'fd99::1', IPV6.gateway];

let world: World;
let plain: survey.Ends & AsyncDisposable;
beforeAll(async () => {
  world = await World.startNat({
    config: {
      device: { routes: [OUTSIDE] },
      nat: { addresses: [] },
      listeners: [
        { name: 'web', ports: 8088, action: 'reject' },
        { name: 'site', protocol: 'any', action: 'prefix', inside: INSIDE, outside: OUTSIDE },
      ],
    },
    scripts: {},
  });
  plain = await startPlain();
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await plain?.[Symbol.asyncDispose]();
});

/** The same network with nothing but kernels in it. */
async function startPlain(): Promise<survey.Ends & AsyncDisposable> {
  const topology = Topology.create();
  topology.addFar();
  topology.routeThroughKernel();
  const client = await Agent.start(topology, topology.client);
  const server = await Agent.start(topology, topology.server);
  return { topology, client, server, [Symbol.asyncDispose]: () => topology[Symbol.asyncDispose]() };
}

const translated = (): Promise<number> => world.gateway.metric('culvert_nat_prefix_packets_total');

test('the server sees the outside address, and the ports of the client', async () => {
  const seen = await survey.whoAmI(world, IPV6);
  expect(seen).toEqual({
    tcp: `${SEEN} 40001 ${IPV6.server} PORT`,
    udp: `${SEEN} 40002`,
    udpAnswersFrom: true,
  });
  expect(await translated()).toBeGreaterThan(0);
  // Nothing of it is a flow.
  expect(await world.gateway.metric('culvert_flows_total')).toBe(0);
});

test('curl, DNS, and iperf3 over TCP and UDP, both ways, do as without translation', async () => {
  const expected = await survey.programs(plain, IPV6);
  expect(expected).toMatchObject({ iperfUp: true, iperfDown: true, dns: { errors: {} } });
  expect(await survey.programs(world, IPV6)).toEqual(expected);
});

test('10 MB up and down at once arrive', async () => {
  const transfer = { up: 10 * MB, down: 10 * MB };
  const result = await transferBetween(world.client, world.server, IPV6.server, transfer);
  expect(result).toMatchObject(intact(transfer));
});

test('ping and traceroute tell the truth, hop for hop', async () => {
  const expected = await survey.routes(plain, IPV6, OWN_HOPS);
  expect(expected.udpHops).toHaveLength(2);
  expect(await survey.routes(world, IPV6, OWN_HOPS)).toEqual(expected);
});

test('ICMPv6 errors reach the sockets of the client, and silence stays silence', async () => {
  const expected = await survey.refusals(plain, IPV6);
  expect(expected.udpRefused).toEqual({ error: 'ECONNREFUSED' });
  expect(await survey.refusals(world, IPV6)).toEqual(expected);
});

test('a packet that is too big is told the size of the link', async () => {
  const expected = await survey.pathMtu(plain, IPV6);
  expect(expected.errors).toHaveLength(1);
  expect(await survey.pathMtu(world, IPV6)).toEqual(expected);
});

test('a server outside can begin, as every address inside has one outside', async () => {
  const port = await world.client.call('udpServe', { host: 'fd88:1::2', port: 0, kind: 'who' });
  const ask = { host: SEEN, port, family: 6 as const };
  const news = await world.server.call('udpAsk', ask);
  expect('text' in news && news.text).toStartWith('fd99::2 ');
});

test('a listener in front of the rule decides first', async () => {
  const { code } = await world.client.call('connect', {
    host: IPV6.server,
    port: 8088,
    timeoutMs: 3000,
  });
  expect(code).toBe('ECONNREFUSED');
  await world.gateway.flowLog(IPV6.server, 8088, 'rejected');
});
